package session_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/session"
)

// childRole is set, to a Redis URL, in a process of the test's own that serves
// app on it.
const childRole = "SESSION_TEST_CHILD"

// runChild serves until its standard input ends.
func runChild(url string) int {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return 2
	}
	client := redis.NewClient(opts)
	m, err := session.New(client, session.Config{Secrets: []string{secret}})
	if err != nil {
		return 2
	}
	if err := m.Start(context.Background()); err != nil {
		return 2
	}
	s := httptest.NewServer(session.Middleware(m)(appHandler()))
	fmt.Println(s.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// another starts app in another process and returns its address.
func another(t *testing.T, url string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+url)
	return firstLine(t, cmd)
}

// firstLine starts a program that says where it listens and ends with its
// standard input, and returns what it says.
func firstLine(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s said nothing: %v", cmd, err)
	}
	return strings.TrimSpace(line)
}

// appHandler is what most tests serve.
func appHandler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range appRoutes() {
		mux.HandleFunc(pattern, h)
	}
	return mux
}
