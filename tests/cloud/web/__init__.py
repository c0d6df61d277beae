"""The board's page: its words, its views, and itself in a real Chromium."""
