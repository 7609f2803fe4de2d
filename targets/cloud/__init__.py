"""What every OpenStack-shaped target shares: the world it shows and the operations of its client."""
