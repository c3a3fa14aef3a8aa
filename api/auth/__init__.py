"""Who is calling, and what they may do: callers, JWTs, operators, stream tickets."""
