package session_test

import "github.com/pedro-go/pedro/devservices"

// appendOnly makes a Redis that keeps its data when it is killed.
func appendOnly() devservices.RedisOption { return devservices.WithAppendOnly() }
