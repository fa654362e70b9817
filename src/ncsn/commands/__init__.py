"""What a user types: one module a command; nothing below imports them."""
