package e2e_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestHealthPage looks at the page in its states, as somebody who is logged in
// and as a stranger, in light and dark.
func TestHealthPage(t *testing.T) {
	c := startClinic(t)
	b := window(t)
	b.login(c.URL)
	page := c.URL + "/api/health/detailed?refresh=off" // or it would reload itself while it is looked at

	look := func(name, title string) {
		t.Helper()
		eventually(t, title, func() bool {
			b.do(chromedp.Navigate(page))
			return strings.Contains(b.title(), title)
		})
		if text := b.text(); !strings.Contains(text, title) {
			t.Errorf("%s: the page does not say %q:\n%s", name, title, text)
		}
		for _, dark := range []bool{false, true} {
			b.dark(dark)
			b.clean("health page, " + name)
			suffix := ""
			if dark {
				suffix = "-dark"
			}
			b.screenshot("health-" + name + suffix)
		}
	}
	look("pass", "All is well")
	stranger := window(t)
	stranger.do(chromedp.Navigate(page))
	if text := stranger.text(); strings.Contains(text, "connections in use") || !strings.Contains(text, "States only") && !strings.Contains(text, "states only") {
		t.Errorf("a stranger sees numbers:\n%s", text)
	}
	stranger.clean("health page for strangers")
	stranger.screenshot("health-stranger")

	if err := c.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	look("warn", "Working, with warnings")
	if err := c.postgres.Kill(); err != nil {
		t.Fatal(err)
	}
	look("fail", "Something that is needed has failed")
	if err := c.postgres.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	look("recovered", "All is well")
	if err := syscall.Kill(c.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	look("draining", "Draining: about to stop")
}
