package clinic

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/pedro-go/pedro/pgpool"
)

// iterations of PBKDF2-HMAC-SHA256, as the OWASP Password Storage Cheat Sheet
// has them.
const iterations = 600_000

// Login checks a user's password. The error is ErrLogin whether it is the name
// or the password that is wrong, and takes as long.
func (s *Service) Login(ctx context.Context, name, password string) error {
	stored, err := pgpool.Get[string](ctx, s.db, "select password from users where name = $1", name)
	known := err == nil
	if err != nil && !errors.Is(err, pgpool.ErrNotFound) {
		return err
	}
	salt, want, _ := strings.Cut(stored, "$")
	got, err := hash(password, salt)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 || !known {
		return ErrLogin
	}
	return nil
}

// SetPassword adds a user, or changes the password of one.
func (s *Service) SetPassword(ctx context.Context, name, password string) error {
	salt := rand.Text()
	sum, err := hash(password, salt)
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, "insert into users (name, password) values ($1, $2) on conflict (name) do update set password = excluded.password", name, salt+"$"+sum)
	return err
}

func hash(password, salt string) (string, error) {
	key, err := pbkdf2.Key(sha256.New, password, []byte(salt), iterations, 32)
	return base64.RawStdEncoding.EncodeToString(key), err
}
