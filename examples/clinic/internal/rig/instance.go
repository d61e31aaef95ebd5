// Package rig runs the clinic as it is run for real: as processes, behind a
// balancer, with clients that keep their cookies. The demonstration and the
// chaos run stand on it.
package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/pedro-go/pedro/internal/ports"
)

// Build compiles the clinic into dir and returns the program's path.
func Build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "clinic")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/pedro-go/pedro/examples/clinic")
	if _, here, _, ok := runtime.Caller(0); ok {
		cmd.Dir = filepath.Dir(here) // in the clinic's module, also for callers from another
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the clinic: %w\n%s", err, out)
	}
	return path, nil
}

// An Instance is a process of the clinic. It can be stopped and started again,
// at the same address.
type Instance struct {
	Name string
	URL  string

	program string
	env     []string
	port    *ports.Port
	log     *os.File
	cmd     *exec.Cmd
	exited  chan struct{}
}

// NewInstance prepares an instance, whose log goes to a file in dir.
func NewInstance(program, dir, name string, env ...string) (*Instance, error) {
	port, err := ports.Reserve()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		port.Release()
		return nil, err
	}
	return &Instance{
		Name: name, URL: "http://" + port.Addr(), program: program, port: port, log: log,
		env: append(env, "ADDR="+port.Addr()),
	}, nil
}

// Start starts the process and returns when it is ready.
func (i *Instance) Start(ctx context.Context) error {
	i.cmd = exec.Command(i.program)
	i.cmd.Env = append(os.Environ(), i.env...)
	i.cmd.Stdout, i.cmd.Stderr = i.log, i.log
	if err := i.cmd.Start(); err != nil {
		return err
	}
	i.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(i.cmd, i.exited)
	for !Ready(ctx, i.URL) {
		select {
		case <-i.exited:
			return fmt.Errorf("%s ended before it was ready: %s\n%s", i.Name, i.cmd.ProcessState, i.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", i.Name, context.Cause(ctx), i.Log())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// Stop asks the process to stop, as an orchestrator does, and waits for it.
func (i *Instance) Stop(ctx context.Context) error {
	if i.exited == nil {
		return nil
	}
	_ = i.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already, which is seen below
	select {
	case <-i.exited:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s does not stop: %w", i.Name, context.Cause(ctx)), i.Kill())
	}
	if code := i.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s exited with %d\n%s", i.Name, code, i.Log())
	}
	return nil
}

// Kill ends the process as a crash does.
func (i *Instance) Kill() error {
	if i.exited == nil {
		return nil
	}
	err := i.cmd.Process.Kill()
	<-i.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// PID is the process's number.
func (i *Instance) PID() int { return i.cmd.Process.Pid }

// Close kills the process if it runs, and gives its port back.
func (i *Instance) Close() error {
	defer i.port.Release()
	return errors.Join(i.Kill(), i.log.Close())
}

// Log returns the end of what the process has logged.
func (i *Instance) Log() string {
	data, err := os.ReadFile(i.log.Name())
	if err != nil {
		return err.Error()
	}
	const most = 4 << 10
	return string(data[max(0, len(data)-most):])
}

// Ready asks an instance whether it wants requests.
func Ready(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/health/ready", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := probes.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

// probes makes a new connection for each probe, as a kubelet does.
var probes = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
