package main

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v5"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/session"
)

// echoRouter is labstack/echo v5, which can wrap handlers and middleware of
// net/http by itself.
func echoRouter(a *app) http.Handler {
	e := echo.New()
	e.Any("/api/health", echo.WrapHandler(health.Handler(a.checks)))
	e.Any("/api/health/*", echo.WrapHandler(health.Handler(a.checks)))
	e.POST("/login/:user", func(c *echo.Context) error {
		if err := session.SetAuthenticated(c.Request().Context(), c.Param("user"), map[string]any{"role": "nurse"}); err != nil {
			return echo.NewHTTPError(http.StatusServiceUnavailable, "cannot log in at the moment").Wrap(err)
		}
		return c.NoContent(http.StatusNoContent)
	})
	e.POST("/logout", func(c *echo.Context) error {
		if err := session.ClearAuthentication(c.Request().Context()); err != nil {
			return echo.NewHTTPError(http.StatusServiceUnavailable, "cannot log out at the moment").Wrap(err)
		}
		return c.NoContent(http.StatusNoContent)
	})
	e.GET("/visits", func(c *echo.Context) error {
		n, err := visits(c.Request().Context())
		if err != nil {
			return echo.NewHTTPError(http.StatusServiceUnavailable, "cannot count").Wrap(err)
		}
		return c.String(http.StatusOK, strconv.Itoa(n))
	})
	e.GET("/late", func(c *echo.Context) error {
		if err := c.String(http.StatusOK, "first byte\n"); err != nil {
			return err
		}
		_ = http.NewResponseController(c.Response()).Flush()
		setLate(c.Request().Context(), c.Response())
		return nil
	})
	e.GET("/late/value", func(c *echo.Context) error { return c.String(http.StatusOK, wasLate(c.Request().Context())) })
	e.GET("/events", func(c *echo.Context) error {
		ctx := c.Request().Context()
		c.Response().Header().Set("Content-Type", "text/event-stream")
		events(ctx, lifecycle.Draining(ctx), c.Response(), http.NewResponseController(c.Response()).Flush)
		return nil
	})
	e.GET("/report", func(c *echo.Context) error { return c.String(http.StatusOK, a.report(c.Request().Context())) })
	// Not by e.Group("", …), which would answer 401 for paths that do not exist.
	e.GET("/account", func(c *echo.Context) error {
		return c.String(http.StatusOK, session.From(c.Request().Context()).UserID())
	}, echo.WrapMiddleware(session.RequireAuthenticated))
	return e
}
