package devservices

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The images that are run where no program is installed. Others are named by DEVSERVICES_REDIS_IMAGE and
// DEVSERVICES_POSTGRES_IMAGE.
const (
	redisImage    = "redis:7-alpine"
	postgresImage = "postgres:17-alpine"
)

// pullTimeout bounds the download of an image, which happens once on a machine and is no part of [DefaultStartTimeout].
const pullTimeout = 5 * time.Minute

// container is a server that a container engine runs for us. The engine's command stays in the foreground and is our
// child, so the container's end and its log are the child's; everything else is asked of the engine.
//
// Data lives in a volume, which outlasts the container from a Kill to the Restart.
type container struct {
	engine string // path of docker or podman
	name   string // of the container and of its volume
	stdin  string // what the server reads at its start
}

// engineAnswersWithin bounds the question whether an engine runs at all.
const engineAnswersWithin = 5 * time.Second

// findEngine looks for a container engine that works. A command without its service is none.
func findEngine(ctx context.Context) (path string, ok bool) {
	if getenv("DEVSERVICES") == "off" {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, engineAnswersWithin)
	defer cancel()
	for _, name := range []string{"docker", "podman"} {
		path, err := exec.LookPath(name)
		if err == nil && exec.CommandContext(ctx, path, "ps", "-q").Run() == nil { //nolint:gosec // one of two names
			return path, true
		}
	}
	return "", false
}

// newContainer makes s run in a container, with its data below the directory data: run holds further options of
// "docker run", command what runs inside.
func newContainer(ctx context.Context, s *server, engine, image, data string, run, command []string) (*container, error) {
	c := &container{engine: engine, name: "pedro-" + filepath.Base(s.bed.dir) + "-" + filepath.Base(s.dir)}
	if c.do(ctx, "image", "inspect", image) != nil {
		ctx, cancel := context.WithTimeout(ctx, pullTimeout)
		defer cancel()
		if err := c.do(ctx, "pull", "-q", image); err != nil {
			return nil, err
		}
	}
	// The watchdog runs this file.
	last := fmt.Sprintf("'%s' rm -f %s >/dev/null 2>&1\n'%[1]s' volume rm -f %[2]s >/dev/null 2>&1\n",
		strings.ReplaceAll(engine, "'", `'\''`), c.name)
	if err := os.MkdirAll(filepath.Dir(c.watchFile(s)), 0o700); err != nil {
		return nil, fmt.Errorf("devservices: %w", err)
	}
	if err := os.WriteFile(c.watchFile(s), []byte(last), 0o600); err != nil {
		return nil, fmt.Errorf("devservices: %w", err)
	}
	s.box = c
	s.exe = engine
	s.args = slices.Concat([]string{"run", "--rm", "-i", "--name", c.name, "-v", c.name + ":" + data}, run, []string{image}, command)
	s.transient = "is already in use" // the name, until the engine has removed the one before
	return c, nil
}

func (c *container) watchFile(s *server) string {
	return filepath.Join(s.bed.dir, "containers", c.name)
}

// do runs one of the engine's commands.
func (c *container) do(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, c.engine, args...).CombinedOutput() //nolint:gosec // docker or podman
	if err != nil {
		return fmt.Errorf("devservices: %s %s: %w%s", filepath.Base(c.engine), args[0], err, excerpt(string(out)))
	}
	return nil
}

// doSoon is [container.do] for what the engine does at once or not at all.
func (c *container) doSoon(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), DefaultStartTimeout)
	defer cancel()
	return c.do(ctx, args...)
}

// remove removes the container, if there is one, and its data.
func (c *container) remove(s *server) error {
	_ = c.doSoon("rm", "-f", c.name) // an error says that it is gone
	return errors.Join(c.doSoon("volume", "rm", "-f", c.name), os.Remove(c.watchFile(s)))
}

// startContainedRedis starts a Redis in a container, or fails with the error that made it necessary if there is no
// engine. The configuration goes in by standard input: a file would have to be shared with the engine, which may run
// elsewhere.
func startContainedRedis(ctx context.Context, o redisOptions, notInstalled error) (*Redis, error) {
	engine, ok := findEngine(ctx)
	if !ok || o.tls != nil || o.unixSocket { // files again
		return nil, notInstalled
	}
	s, err := newServer("redis")
	if err != nil {
		return nil, err
	}
	r := &Redis{server: s, opts: o}
	s.probe = r.answers
	run := []string{"-p", r.Addr() + ":6379"}
	c, err := newContainer(ctx, s, engine, image("DEVSERVICES_REDIS_IMAGE", redisImage), "/data", run, []string{"redis-server", "-"})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	// Inside, it listens to the engine's network; outside, its port is published on loopback only.
	lines := append([]string{"port 6379", "bind 0.0.0.0", "protected-mode no", "dir /data", "enable-debug-command yes"}, r.settings()...)
	c.stdin = strings.Join(append(lines, o.directives...), "\n") + "\n"
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// startContainedPostgres is [startContainedRedis] for PostgreSQL. Replicas cannot be made of it.
func startContainedPostgres(ctx context.Context, o postgresOptions, notInstalled error) (*Postgres, error) {
	engine, ok := findEngine(ctx)
	if !ok || o.cert != nil {
		return nil, notInstalled
	}
	s, err := newServer("postgres")
	if err != nil {
		return nil, err
	}
	p := &Postgres{server: s, opts: o, password: rand.Text()}
	s.probe = p.answers
	secrets := filepath.Join(s.dir, "env") // read by the engine's command, which is ours
	if err := os.WriteFile(secrets, []byte("POSTGRES_PASSWORD="+p.password+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("devservices: %w", err), p.Close())
	}
	command := []string{"postgres"}
	for _, setting := range append(p.settings(), o.settings...) {
		command = append(command, "-c", setting[0]+"="+setting[1])
	}
	// A directory of its own: the images declare different ones as volumes, which would hide ours.
	run := []string{"-p", p.Addr() + ":5432", "--env-file", secrets, "-e", "PGDATA=/pedro/data"}
	if _, err := newContainer(ctx, s, engine, image("DEVSERVICES_POSTGRES_IMAGE", postgresImage), "/pedro", run, command); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func image(variable, otherwise string) string {
	if name := getenv(variable); name != "" {
		return name
	}
	return otherwise
}
