"""A topic tree of tests that grows towards failures: an engine proposes, a judge sorts, a person decides."""
