package lifecycle_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/pedro-go/pedro/lifecycle"
)

// TestHijackedIsWaitedFor: a hijacked connection may take longer than the quiet
// time to say good-bye, within the time of the stop.
func TestHijackedIsWaitedFor(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	told, goOn := make(chan struct{}), make(chan struct{})
	s := lifecycle.Server(&http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		draining := lifecycle.Draining(r.Context())
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.WriteString(conn, "hello\n")
			<-draining
			close(told)
			<-goOn
			_, _ = io.WriteString(conn, "good-bye\n")
		}()
	})}, lifecycle.WithListener(listener), lifecycle.WithQuiet(time.Millisecond))
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	lines := bufio.NewScanner(conn)
	if !lines.Scan() || lines.Text() != "hello" {
		t.Fatalf("got %q, want hello", lines.Text())
	}
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		stopped <- s.Stop(ctx)
	}()
	<-told
	select { // many quiet times
	case err := <-stopped:
		t.Fatalf("Stop returned %v while the connection was at work", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(goOn)
	if !lines.Scan() || lines.Text() != "good-bye" {
		t.Errorf("got %q, want good-bye", lines.Text())
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop = %v, want nil", err)
	}
}

// TestHijackedIsCancelledThenCut: who does not heed the farewell is told by the
// end of the request's context, and has time for it; who does not heed that
// either is cut off, and the stop says so.
func TestHijackedIsCancelledThenCut(t *testing.T) {
	t.Parallel()
	for name, heeds := range map[string]bool{"heeds its context": true, "heeds nothing": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			over := make(chan struct{})
			t.Cleanup(func() { close(over) })
			s := lifecycle.Server(&http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "hello\n")
				if heeds {
					<-r.Context().Done()
					return
				}
				<-over
			})}, lifecycle.WithListener(listener), lifecycle.WithQuiet(time.Millisecond))
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			if lines := bufio.NewScanner(conn); !lines.Scan() {
				t.Fatal("no hello")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			switch err := s.Stop(ctx); {
			case heeds && err != nil:
				t.Errorf("Stop = %v, want nil", err)
			case !heeds && !errors.Is(err, lifecycle.ErrRequestsCut):
				t.Errorf("Stop = %v, want ErrRequestsCut", err)
			}
		})
	}
}
