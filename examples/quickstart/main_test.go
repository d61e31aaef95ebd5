package main

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pedro-go/pedro/internal/ports"
)

// TestQuickstart runs the program with nothing configured: with servers of its
// own, and with none at all.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "quickstart")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, test := range map[string]struct {
		env    string
		health string // the verdict
		says   string // what the health page must say
	}{
		"with servers":    {"DEVSERVICES=", "pass", `"redis":{"status":"pass"`},
		"without servers": {"DEVSERVICES=off", "fail", `"redis":{"status":"warn"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, err := ports.Reserve()
			if err != nil {
				t.Fatal(err)
			}
			defer port.Release()
			cmd := exec.Command(program)
			cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
				return strings.HasPrefix(v, "DATABASE_URL=") || strings.HasPrefix(v, "REDIS_") || strings.HasPrefix(v, "SESSION_")
			}), test.env, "ADDR="+port.Addr())
			var log strings.Builder
			cmd.Stdout, cmd.Stderr = &log, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			defer func() {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				select {
				case err := <-ended:
					if err != nil {
						t.Errorf("the program ended with %v\n%s", err, log.String())
					}
				case <-time.After(30 * time.Second):
					_ = cmd.Process.Kill()
					t.Error("the program did not end within 30s of SIGTERM")
				}
			}()

			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Jar: jar}
			defer client.CloseIdleConnections()
			get := func(path string) (string, error) {
				req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+port.Addr()+path, http.NoBody)
				if err != nil {
					return "", err
				}
				resp, err := client.Do(req)
				if err != nil {
					return "", err
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				return string(body), err
			}
			deadline := time.Now().Add(30 * time.Second)
			for {
				if body, err := get("/"); err == nil && strings.Contains(body, "0 times") {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("no answer within 30s")
				}
				time.Sleep(20 * time.Millisecond)
			}
			if body, err := get("/"); err != nil || !strings.Contains(body, "1 times") {
				t.Errorf("the second visit: %q, %v: the session is not kept", body, err)
			}
			for {
				body, err := get("/api/health/")
				if err == nil && strings.Contains(body, `"status":"`+test.health+`"`) && strings.Contains(body, test.says) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("health says %s, %v, want %s and %s", body, err, test.health, test.says)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}
