"""The wheel as a user has it: installed into an empty environment, without the checkout."""
