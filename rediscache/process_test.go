package rediscache_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
)

// childURL makes the test binary one process of several; see TestChild.
const childURL = "REDISCACHE_TEST_CHILD"

// TestChild is the body of a child process: it loads one key exclusively, in
// ten goroutines, and prints a line for each call of the loader and each result.
func TestChild(t *testing.T) {
	url := os.Getenv(childURL)
	if url == "" {
		t.Skip("the body of the child processes of other tests")
	}
	// On a busy machine a call may take longer than the default, and then Redis
	// counts as away and the process loads by itself: right, and not what is tested.
	c, err := rediscache.New(rediscache.Config{URL: url, Required: true, Timeout: 10 * time.Second}, rediscache.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer c.Stop(context.Background())
	n := rediscache.Of[int](c, "user", rediscache.ExclusiveFor(500*time.Millisecond))
	fmt.Println("ready")
	hold := 200 * time.Millisecond
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n') // all start together
	if strings.TrimSpace(line) == "hold" {
		hold = time.Hour
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			v, err := n.Load(t.Context(), "1", func(ctx context.Context, _ string) (int, error) {
				fmt.Println("load")
				select {
				case <-time.After(hold):
				case <-ctx.Done():
				}
				return 7, nil
			}, rediscache.LoadTimeout(2*time.Hour))
			fmt.Println("result", v, err)
		})
	}
	wg.Wait()
}

type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
}

func startChild(t *testing.T, url string) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childURL+"="+url)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, stdin: stdin, lines: make(chan string, 100)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(c.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	c.await(t, "ready")
	return c
}

// await reads lines until one is as wanted.
func (c *child) await(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				t.Fatalf("the child ended without %q", want)
			}
			if line == want {
				return
			}
		case <-timeout:
			t.Fatalf("no %q from the child", want)
		}
	}
}

func (c *child) tell(t *testing.T, what string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.stdin, what); err != nil {
		t.Fatal(err)
	}
}

func TestExclusiveAcrossProcesses(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	var children []*child
	for range 4 {
		children = append(children, startChild(t, url))
	}
	for _, c := range children {
		c.tell(t, "go")
	}
	loads, results := 0, 0
	for _, c := range children {
		for line := range c.lines {
			switch {
			case line == "load":
				loads++
			case line == "result 7 <nil>":
				results++
			case strings.HasPrefix(line, "result"):
				t.Errorf("a caller got %q", line)
			}
		}
	}
	if loads != 1 || results != 40 {
		t.Errorf("4 processes made %d loads for %d results, want 1 for 40", loads, results)
	}
}

func TestExclusiveHolderKilled(t *testing.T) {
	t.Parallel()
	url := rediscachetest.Start(t)
	holder := startChild(t, url)
	holder.tell(t, "hold")
	holder.await(t, "load")
	next := startChild(t, url)
	next.tell(t, "go")
	pause(t, 700*time.Millisecond) // longer than the lease: the holder must have renewed it
	select {
	case line := <-next.lines:
		t.Fatalf("while the holder lives the other process says %q", line)
	default:
	}
	if err := holder.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	next.await(t, "load")
	// The lease of 500 ms has to run out, and the poll to notice.
	if took := time.Since(killed); took > 700*time.Millisecond*margin {
		t.Errorf("the next took over after %v, want little more than the lease of 500 ms", took)
	}
	next.await(t, "result 7 <nil>")
}
