"""What Flask-Anam costs, measured beside its floor and beside what people would use instead."""
