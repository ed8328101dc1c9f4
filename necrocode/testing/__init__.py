"""What tests are run by, and what is read of them: playbooks, and the JUnit files that commands leave in a slot."""
