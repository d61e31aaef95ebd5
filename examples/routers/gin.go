package main

import (
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/pedro-go/pedro/health"
	"github.com/pedro-go/pedro/lifecycle"
	"github.com/pedro-go/pedro/session"
)

// ginEngine is gin. The session is found in the request's context, not in
// gin's own: pass c.Request.Context(), never c, or set ContextWithFallback.
func ginEngine(a *app) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Any("/api/health", gin.WrapH(health.Handler(a.checks)))
	r.Any("/api/health/*check", gin.WrapH(health.Handler(a.checks)))
	r.POST("/login/:user", func(c *gin.Context) {
		if err := session.SetAuthenticated(c.Request.Context(), c.Param("user"), map[string]any{"role": "nurse"}); err != nil {
			c.String(http.StatusServiceUnavailable, "cannot log in at the moment")
			return
		}
		c.Status(http.StatusNoContent)
	})
	r.POST("/logout", func(c *gin.Context) {
		if err := session.ClearAuthentication(c.Request.Context()); err != nil {
			c.String(http.StatusServiceUnavailable, "cannot log out at the moment")
			return
		}
		c.Status(http.StatusNoContent)
	})
	r.GET("/visits", func(c *gin.Context) {
		n, err := visits(c.Request.Context())
		if err != nil {
			c.String(http.StatusServiceUnavailable, "cannot count")
			return
		}
		c.String(http.StatusOK, strconv.Itoa(n))
	})
	r.GET("/late", func(c *gin.Context) {
		c.String(http.StatusOK, "first byte\n")
		c.Writer.Flush()
		setLate(c.Request.Context(), c.Writer)
	})
	r.GET("/late/value", func(c *gin.Context) { c.String(http.StatusOK, wasLate(c.Request.Context())) })
	r.GET("/events", func(c *gin.Context) {
		ctx := c.Request.Context()
		c.Header("Content-Type", "text/event-stream")
		events(ctx, lifecycle.Draining(ctx), c.Writer, http.NewResponseController(c.Writer).Flush)
	})
	r.GET("/report", func(c *gin.Context) { c.String(http.StatusOK, a.report(c.Request.Context())) })
	members := r.Group("/", ginMiddleware(session.RequireAuthenticated))
	members.GET("/account", func(c *gin.Context) { c.String(http.StatusOK, session.From(c.Request.Context()).UserID()) })
	return r
}

// ginMiddleware makes gin's of a middleware of net/http that refuses requests
// or lets them through, such as session.RequireAuthenticated. It must not
// replace the ResponseWriter: those that do belong around the whole engine.
func ginMiddleware(m func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		m(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}
