"""What every OpenStack-shaped target shares: the world it shows, what its client can do."""
