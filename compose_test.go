package pedro_test

import (
	"context"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

// The packages meet here and in hosts, and nowhere else.
var (
	_ lifecycle.Component = (*pgpool.Pool)(nil)
	_ lifecycle.Component = (*rediscache.Cache)(nil)
	_ lifecycle.Component = (*session.Manager)(nil)
	_ lifecycle.Component = (*health.Checker)(nil)

	_ func(context.Context) error = (*pgpool.Pool)(nil).Ping
	_ func(context.Context) error = (*rediscache.Cache)(nil).Ping
)
