"""What is given away: the student, its data, cards, checksums, and the difference to the base that rebuilds it."""
