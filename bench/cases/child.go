package cases

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/pedro-go/pedro/internal/faultproxy"
)

// roleEnv is set in the processes that this program starts of itself.
const roleEnv = "BENCH_ROLE"

// Child does the work of a role and reports whether there was one. A role
// prints one line when it is ready, and ends when its standard input does.
func Child() (bool, error) {
	switch role := os.Getenv(roleEnv); role {
	case "":
		return false, nil
	case "proxy":
		return true, proxyRole()
	case "site":
		return true, siteRole()
	case "instance":
		return true, instanceRole()
	default:
		return true, fmt.Errorf("no such role: %q", role)
	}
}

func proxyRole() error {
	latency, err := time.ParseDuration(os.Getenv("BENCH_LATENCY"))
	if err != nil {
		return err
	}
	p, err := faultproxy.New(os.Getenv("BENCH_TARGET"))
	if err != nil {
		return err
	}
	defer p.Close()
	p.Latency(latency, 0)
	return readyUntilEnd(p.Addr())
}

func readyUntilEnd(line string) error {
	fmt.Println(line)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// child is a process that ends when its standard input does.
type child struct {
	ready string // the first line that it printed
	cmd   *exec.Cmd
	mu    sync.Mutex
	in    io.WriteCloser
	out   *bufio.Reader
}

// startRole starts this program again, in a role.
func startRole(ctx context.Context, role string, env ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startChild(ctx, append(env, roleEnv+"="+role), "", self)
}

// startNode starts a program of bench/node.
func startNode(ctx context.Context, program string, env ...string) (*child, error) {
	dir, err := nodeDir()
	if err != nil {
		return nil, err
	}
	return startChild(ctx, append(env, "NODE_ENV=production"), dir, "node", program)
}

// nodeDir is where the Node programs and their modules are.
func nodeDir() (string, error) {
	for _, dir := range []string{"node", "../node", "bench/node"} {
		if _, err := os.Stat(dir + "/node_modules"); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no node_modules: type npm ci in bench/node")
}

func startChild(ctx context.Context, env []string, dir, name string, args ...string) (*child, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewReader(out)}
	if c.ready, err = c.line(); err != nil {
		c.close()
		return nil, fmt.Errorf("%s did not start: %w", name, err)
	}
	return c, nil
}

func (c *child) line() (string, error) {
	line, err := c.out.ReadString('\n')
	return strings.TrimSpace(line), err
}

// ask sends a line of JSON and waits for one in return.
func (c *child) ask(question, answer any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(b, '\n')); err != nil {
		return err
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(line), answer)
}

// close ends the child and waits for it.
func (c *child) close() {
	_ = c.in.Close()
	t := time.AfterFunc(5*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer t.Stop()
	_ = c.cmd.Wait()
}
