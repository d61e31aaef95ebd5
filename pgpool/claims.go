package pgpool

import (
	"encoding/json"
	"fmt"
)

// Claims are those of a user's access token (JWT), verified by the host: sub,
// role, email and so on. In a transaction WithClaims, PostgreSQL's row-level
// security sees them as Supabase's API would show them: request.jwt.claims
// holds them as JSON, so auth.uid() and auth.jwt() work, and the role is
// authenticated or anon.
//
// The role comes from the claim "role". Anything but "authenticated" becomes
// anon: a token never makes a transaction more powerful than the API would.
// Claims and role end with the transaction.
//
// The pool's own user must be allowed to take these roles, as postgres is on
// Supabase.
type Claims map[string]any

const claimsSQL = "select set_config('request.jwt.claims', $1, true), set_config('role', $2, true)"

func (c Claims) encode() (claims, role string, err error) {
	role = "anon"
	if r, ok := c["role"].(string); ok && r == "authenticated" {
		role = r
	}
	b, err := json.Marshal(map[string]any(c))
	if err != nil {
		return "", "", fmt.Errorf("pgpool: transaction: claims: %w", err)
	}
	return string(b), role, nil
}
