"""What a client may use: rate limits, the queue limit, concurrent requests, plans of users."""
