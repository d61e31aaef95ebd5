package devservices

import (
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// config is redis.conf for a server that is our own process. The last line of a name counts.
func (r *Redis) config(extra []string) (string, error) {
	o := r.opts
	lines := []string{"bind 127.0.0.1", "dir " + quote(r.dir)}
	if redisMajor(r.exe) >= 7 {
		lines = append(lines, "enable-debug-command local") // DEBUG SLEEP and the like, which tests live on
	}
	if o.tls == nil {
		lines = append(lines, "port "+strconv.Itoa(r.Port()))
	} else {
		files, err := o.tls.files(r)
		if err != nil {
			return "", err
		}
		lines = append(append(lines, "port 0", "tls-port "+strconv.Itoa(r.Port())), files...)
	}
	if o.unixSocket {
		lines = append(lines, "unixsocket "+quote(r.socket), "unixsocketperm 700")
	}
	lines = append(append(lines, r.settings()...), extra...)
	return strings.Join(append(lines, o.directives...), "\n") + "\n", nil
}

// settings are the lines that do not depend on where the server runs.
func (r *Redis) settings() []string {
	o := r.opts
	lines := []string{
		"daemonize no",
		`save ""`,
		"hz 50",
		"repl-diskless-sync-delay 0", // 5 s by default, in which a new replica waits for others
		"repl-ping-replica-period 1",
	}
	if o.appendOnly {
		lines = append(lines, "appendonly yes", "appendfsync always")
	}
	if o.password != "" {
		lines = append(lines, "requirepass "+quote(o.password), "masterauth "+quote(o.password))
	}
	for _, u := range o.users {
		lines = append(lines, strings.Join(append([]string{"user", u.name, "on", ">" + u.password}, u.rules...), " "))
	}
	return lines
}

// quote writes a value for redis.conf, where it may hold spaces.
func quote(s string) string { return strconv.Quote(s) }

// redisMajor is the server's major version, 7 if it does not say: the oldest that is still maintained.
func redisMajor(exe string) int {
	if v, ok := redisVersions.Load(exe); ok {
		return v.(int) //nolint:forcetypeassert // only ints are stored
	}
	major := 7
	out, err := exec.Command(exe, "--version").Output() //nolint:noctx // prints a line
	if _, after, ok := strings.Cut(string(out), " v="); ok && err == nil {
		digits, _, _ := strings.Cut(after, ".")
		if n, err := strconv.Atoi(digits); err == nil {
			major = n
		}
	}
	redisVersions.Store(exe, major)
	return major
}

var redisVersions sync.Map // of int by path of the program
