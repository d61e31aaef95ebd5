package pedro_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/pedro-go/pedro/pgpool"
	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/session"
)

// variables are all that the packages read, and the package that does.
func variables() (names, pkgs []string) {
	for _, c := range []struct {
		pkg    string
		config any
	}{{"pgpool", pgpool.Config{}}, {"rediscache", rediscache.Config{}}, {"session", session.Config{}}} {
		for field := range reflect.TypeOf(c.config).Fields() {
			if name := field.Tag.Get("envconfig"); name != "" {
				names, pkgs = append(names, name), append(pkgs, c.pkg)
			}
		}
	}
	return append(names, "APP_ENV"), append(pkgs, "session")
}

// FuzzEnvironment: whatever stands in a variable is taken, or is an error that
// names a variable and shows nothing of the value.
func FuzzEnvironment(f *testing.F) {
	names, pkgs := variables()
	for i := range names {
		f.Add(uint8(i), "1e99", "")
		f.Add(uint8(i), "redis://u:", "@h:port/0?x=y#z")
		f.Add(uint8(i), "postgres://u:", "@[::1/db?sslmode=x")
	}
	f.Fuzz(func(t *testing.T, which uint8, before, after string) {
		if strings.ContainsRune(before+after, 0) {
			t.Skip("no variable can hold this")
		}
		i := int(which) % len(names)
		forgetEnv(t)
		for name, value := range good[pkgs[i]] {
			t.Setenv(name, value)
		}
		secret := "s3cr3ts3cr3t"
		if before+after == "" {
			secret = ""
		}
		for _, value := range []string{before + secret + after, before + after} {
			t.Setenv(names[i], value)
			err := fromEnv[pkgs[i]]()
			if err == nil {
				continue
			}
			if !errors.Is(err, kinds[pkgs[i]]) {
				t.Errorf("%s: %v is no ErrInvalidConfig", names[i], err)
			}
			if strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "_") && !strings.Contains(err.Error(), "APP_ENV") {
				t.Errorf("%s: the error shows the value, or names no variable: %v", names[i], err)
			}
		}
	})
}
