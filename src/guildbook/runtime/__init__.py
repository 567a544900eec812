"""From one call to one receipt: which contract runs, who signs, what is allowed, what it may use."""
