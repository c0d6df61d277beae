"""What makes an anomaly of a detector's score: episodes, severity and a sentence for a person."""
