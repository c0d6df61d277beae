"""Access: tokens, sessions and the check in front of every request.

`require(request, scope)` gives the `Identity` or raises a `Refusal` (an `HTTPException`) of 401 or
403.
"""

from cloud.access.credentials import Credentials, Identity, Scope
from cloud.access.gate import COOKIE, require

__all__ = ["COOKIE", "Credentials", "Identity", "Scope", "require"]
