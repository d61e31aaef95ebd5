package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// WithSystemd makes the group speak to systemd when it runs as a unit with
// Type=notify or notify-reload (sd_notify(3)): READY=1 when it runs, RELOADING=1
// around the hooks of [OnReload], STOPPING=1 when it begins to drain,
// EXTEND_TIMEOUT_USEC for the start limit and the stop budget, and, if the unit
// has WatchdogSec, WATCHDOG=1 at half that interval as long as alive returns
// true. alive may be nil, for always. Outside systemd the option does nothing.
func WithSystemd(alive func() bool) Option {
	if alive == nil {
		alive = func() bool { return true }
	}
	return func(o *options) {
		o.systemd = &systemd{
			socket:   os.Getenv("NOTIFY_SOCKET"), //nolint:forbidigo // the protocol's own variables, not configuration
			watchdog: watchdogInterval(),
			alive:    alive,
		}
	}
}

// systemd is the notify protocol. A nil systemd does nothing.
type systemd struct {
	socket   string
	watchdog time.Duration // how often to report, 0 for never
	alive    func() bool
	logger   *slog.Logger // set by New

	mu           sync.Mutex
	stopWatchdog context.CancelFunc
}

// watchdogInterval returns half of what WatchdogSec of the unit says, as
// sd_watchdog_enabled(3) recommends.
func watchdogInterval() time.Duration {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64) //nolint:forbidigo // as above
	pid := os.Getenv("WATCHDOG_PID")                                  //nolint:forbidigo // as above
	if err != nil || usec <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond / 2
}

// announce reports the group's state.
func (s *systemd) announce(state State, cfg Config) {
	if s == nil || s.socket == "" {
		return
	}
	switch state {
	case StateStarting:
		s.notify("STATUS=starting", extend(cfg.StartTimeout))
	case StateRunning:
		s.ready()
		s.startWatchdog()
	case StateDraining:
		s.notify("STOPPING=1", "STATUS=draining", extend(cfg.StopBudget))
	case StateStopping:
		s.notify("STOPPING=1", "STATUS=stopping", extend(cfg.StopBudget))
	case StateStopped:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.stopWatchdog != nil {
			s.stopWatchdog()
		}
	case StateNew:
	}
}

// extend asks for more time than the unit may give.
func extend(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (d + time.Second).Microseconds())
}

func (s *systemd) ready() {
	if s != nil && s.socket != "" {
		s.notify("READY=1", "STATUS=running")
	}
}

func (s *systemd) reloading() {
	if s != nil && s.socket != "" {
		s.notify("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonic().Microseconds()), "STATUS=reloading")
	}
}

// startWatchdog reports until StateStopped: a stop that hangs for longer than
// the budget is not alive, but one within it is.
func (s *systemd) startWatchdog() {
	if s.watchdog == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.mu.Lock()
	s.stopWatchdog = cancel
	s.mu.Unlock()
	go func() {
		t := time.NewTicker(s.watchdog)
		defer t.Stop()
		for {
			if s.alive() {
				s.notify("WATCHDOG=1")
			}
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	}()
}

// notify sends the lines that are not empty as one datagram.
func (s *systemd) notify(lines ...string) {
	var message []string
	for _, line := range lines {
		if line != "" {
			message = append(message, line)
		}
	}
	name := s.socket
	if strings.HasPrefix(name, "@") { // the abstract namespace
		name = "\x00" + name[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(strings.Join(message, "\n")))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		s.logger.Warn("systemd notification failed", "error", err)
	}
}

// ErrNoSockets is returned by [SystemdListeners] when the process was not
// started by a systemd socket.
var ErrNoSockets = errors.New("lifecycle: no sockets passed by systemd")

// firstSocket is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstSocket = 3

// SystemdListeners returns the stream sockets that systemd passed to the
// process (socket activation, sd_listen_fds(3)), in the order of the unit. Use
// one with [WithListener]; the connections that arrive during a restart then
// wait in it. The variables are left in place, so call it once: the caller owns
// the listeners. The error is [ErrNoSockets] if there are none.
func SystemdListeners() ([]net.Listener, error) {
	count, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))                                   //nolint:forbidigo // the protocol's own variables, not configuration
	if err != nil || count <= 0 || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) { //nolint:forbidigo // as above
		return nil, ErrNoSockets
	}
	var list []net.Listener
	for fd := firstSocket; fd < firstSocket+count; fd++ {
		f := os.NewFile(uintptr(fd), "systemd-socket")
		ln, err := net.FileListener(f) // a copy of the descriptor
		_ = f.Close()
		if err != nil {
			for _, open := range list {
				_ = open.Close()
			}
			return nil, fmt.Errorf("lifecycle: socket %d of systemd: %w", fd-firstSocket+1, err)
		}
		list = append(list, ln)
	}
	return list, nil
}
