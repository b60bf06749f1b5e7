"""Facts about models, data and machines, without torch; both planes use it."""
