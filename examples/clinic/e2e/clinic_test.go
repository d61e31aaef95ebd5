package e2e_test

import (
	"context"
	"crypto/rand"
	"os"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/pedro-go/pedro/devservices"
	"github.com/pedro-go/pedro/examples/clinic/internal/rig"
	"github.com/pedro-go/pedro/pgpool/pgpooltest"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

const (
	user     = "reception"
	password = "a password for the tests"
)

// clinic is an instance with servers of its own, which can be made to fail.
type clinic struct {
	*rig.Instance
	postgres *devservices.Postgres
	redis    *devservices.Redis
}

func startClinic(t *testing.T, env ...string) *clinic {
	t.Helper()
	c := &clinic{postgres: pgpooltest.StartServer(t), redis: rediscachetest.StartServer(t, devservices.WithAppendOnly())}
	dir := t.TempDir()
	program, err := rig.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Instance, err = rig.NewInstance(program, dir, "clinic", append([]string{
		"DATABASE_URL=" + c.postgres.URL(), "REDIS_URL=" + c.redis.URL(), "SESSION_SECRET=" + rand.Text() + rand.Text(),
		"CLINIC_USER=" + user, "CLINIC_PASSWORD=" + password, "DRAIN_DELAY=20s",
	}, env...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// login logs the window in.
func (b *browser) login(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url+"/login"),
		chromedp.SendKeys(`input[name=name]`, user, chromedp.ByQuery),
		chromedp.SendKeys(`input[name=password]`, password, chromedp.ByQuery))
	b.submit("main button")
	if got, want := b.title(), "Appointments – Pedro clinic"; got != want {
		b.t.Fatalf("after the login the title is %q, want %q:\n%s", got, want, b.text())
	}
}

// dark makes the window prefer dark colours, or not.
func (b *browser) dark(on bool) {
	b.t.Helper()
	scheme := "light"
	if on {
		scheme = "dark"
	}
	b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
}

// eventually waits for something that another process does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30s in vain for %s", what)
		}
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := pgpooltest.Close(); err != nil {
		code = 1
	}
	os.Exit(code)
}
