"""Systems under test, and the runners that start them."""
