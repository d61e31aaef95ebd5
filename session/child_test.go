package session_test

// childRole is set in a process of the test's own that plays a part.
const childRole = "SESSION_TEST_CHILD"

func runChild(string) int { return 2 }
