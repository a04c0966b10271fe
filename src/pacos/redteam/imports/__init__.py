"""Results of other tools, and reports of users, as cases: each file's form is known by what it holds."""
