"""Plain requests, which are answered together: their forms, and from their arrival to their answers."""
