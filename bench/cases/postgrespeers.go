package cases

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // the driver "postgres"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/pedro-go/pedro/pgpool"
)

var pgStacks = []pgStack{
	{name: "pgxpool", open: func(ctx context.Context, url string) (*database, error) { return openPgxpool(ctx, url, nil) }},
	{name: "database/sql + pgx", maxN: 100_000, open: func(ctx context.Context, url string) (*database, error) { return openSQL(ctx, "pgx", url) }},
	{name: "database/sql + lib/pq", maxN: 100_000, open: func(ctx context.Context, url string) (*database, error) { return openSQL(ctx, "postgres", url) }},
	{name: "sqlx + pgx", maxN: 100_000, open: openSQLX},
	{name: "bun + pgx", maxN: 100_000, open: openBun},
	{name: "pedro", ours: true, open: openPgpool},
}

// openPgxpoolTimed is pgxpool with the limit that pedro's connections have.
func openPgxpoolTimed(ctx context.Context, url string) (*database, error) {
	return openPgxpool(ctx, url, map[string]string{"statement_timeout": strconv.FormatInt(pgpool.DefaultStatementTimeout.Milliseconds(), 10)})
}

func openPgxpool(ctx context.Context, url string, settings map[string]string) (*database, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = poolSize
	maps.Copy(cfg.ConnConfig.RuntimeParams, settings)
	p, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &database{
		get: func(ctx context.Context, id int64) (a account, err error) {
			err = p.QueryRow(ctx, getSQL, id).Scan(&a.ID, &a.Name, &a.Email, &a.Balance, &a.Active, &a.Made)
			return a, err
		},
		list: func(ctx context.Context, from int64) ([]account, error) {
			rows, err := p.Query(ctx, listSQL, from)
			if err != nil {
				return nil, err
			}
			return pgx.CollectRows(rows, pgx.RowToStructByName[account])
		},
		transfer: func(ctx context.Context, from, to int64) error {
			return pgx.BeginFunc(ctx, p, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, takeSQL, from); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, giveSQL, to)
				return err
			})
		},
		insert: func(ctx context.Context, rows []account, conflict bool) (int64, error) {
			if conflict {
				return unnest(ctx, p, rows)
			}
			return p.CopyFrom(ctx, pgx.Identifier{"items"}, columnNames, copied(rows))
		},
		close: p.Close,
	}, nil
}

var columnNames = []string{"id", "name", "email", "balance", "active", "made"}

func copied(rows []account) pgx.CopyFromSource {
	return pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		a := &rows[i]
		return []any{a.ID, a.Name, a.Email, a.Balance, a.Active, a.Made}, nil
	})
}

// openCopyByHand is pgxpool whose rows that may be there go through a temporary
// table.
func openCopyByHand(ctx context.Context, url string) (*database, error) {
	p, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	return &database{
		insert: func(ctx context.Context, rows []account, _ bool) (inserted int64, err error) {
			return inserted, pgx.BeginFunc(ctx, p, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "create temporary table staged (like items) on commit drop"); err != nil {
					return err
				}
				if _, err := tx.CopyFrom(ctx, pgx.Identifier{"staged"}, columnNames, copied(rows)); err != nil {
					return err
				}
				tag, err := tx.Exec(ctx, "insert into items select * from staged on conflict do nothing")
				inserted = tag.RowsAffected()
				return err
			})
		},
		close: p.Close,
	}, nil
}

// unnest is how raw pgx inserts many rows that may be there: arrays, a
// thousand rows at a time, in a transaction.
func unnest(ctx context.Context, p *pgxpool.Pool, rows []account) (inserted int64, err error) {
	return inserted, pgx.BeginFunc(ctx, p, func(tx pgx.Tx) error {
		for part := range slices.Chunk(rows, chunk) {
			ids, balances := make([]int64, len(part)), make([]int64, len(part))
			names, emails := make([]string, len(part)), make([]string, len(part))
			active, made := make([]bool, len(part)), make([]time.Time, len(part))
			for i, a := range part {
				ids[i], names[i], emails[i], balances[i], active[i], made[i] = a.ID, a.Name, a.Email, a.Balance, a.Active, a.Made
			}
			tag, err := tx.Exec(ctx, "insert into items "+columnSQL+
				" select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bool[], $6::timestamptz[]) on conflict do nothing",
				ids, names, emails, balances, active, made)
			if err != nil {
				return err
			}
			inserted += tag.RowsAffected()
		}
		return nil
	})
}

func openPgpool(ctx context.Context, url string) (*database, error) {
	p, err := pgpool.New(pgpool.Config{URL: url, MaxConns: poolSize}, pgpool.WithLogger(quiet))
	if err != nil {
		return nil, err
	}
	return &database{
		get: func(ctx context.Context, id int64) (account, error) { return pgpool.Get[account](ctx, p, getSQL, id) },
		list: func(ctx context.Context, from int64) ([]account, error) {
			return pgpool.Select[account](ctx, p, listSQL, from)
		},
		transfer: func(ctx context.Context, from, to int64) error {
			return p.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, takeSQL, from); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, giveSQL, to)
				return err
			})
		},
		insert: func(ctx context.Context, rows []account, conflict bool) (int64, error) {
			if conflict {
				return pgpool.BatchInsert(ctx, p, "items", rows, pgpool.OnConflictDoNothing())
			}
			return pgpool.BatchInsert(ctx, p, "items", rows)
		},
		close: func() { _ = p.Stop(context.Background()) },
	}, p.Start(ctx)
}

func openDB(ctx context.Context, driver, url string) (*sql.DB, error) {
	if driver == "postgres" && !strings.Contains(url, "sslmode") {
		url += "?sslmode=disable" // lib/pq demands TLS otherwise
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	err = db.PingContext(ctx)
	return db, err
}

func openSQL(ctx context.Context, driver, url string) (*database, error) {
	db, err := openDB(ctx, driver, url)
	if err != nil {
		return nil, err
	}
	return &database{
		get: func(ctx context.Context, id int64) (a account, err error) {
			err = db.QueryRowContext(ctx, getSQL, id).Scan(&a.ID, &a.Name, &a.Email, &a.Balance, &a.Active, &a.Made)
			return a, err
		},
		list: func(ctx context.Context, from int64) ([]account, error) {
			rows, err := db.QueryContext(ctx, listSQL, from)
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			var list []account
			for rows.Next() {
				var a account
				if err := rows.Scan(&a.ID, &a.Name, &a.Email, &a.Balance, &a.Active, &a.Made); err != nil {
					return nil, err
				}
				list = append(list, a)
			}
			return list, rows.Err()
		},
		transfer: func(ctx context.Context, from, to int64) error { return transfer(ctx, db, from, to) },
		insert: func(ctx context.Context, rows []account, conflict bool) (int64, error) {
			return insertValues(ctx, db, rows, conflict)
		},
		close: func() { _ = db.Close() },
	}, nil
}

func transfer(ctx context.Context, db *sql.DB, from, to int64) error {
	return inTx(ctx, db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, takeSQL, from); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, giveSQL, to)
		return err
	})
}

func inTx(ctx context.Context, db *sql.DB, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// insertValues inserts with VALUES lists of a thousand rows, in a transaction.
func insertValues(ctx context.Context, db *sql.DB, rows []account, conflict bool) (inserted int64, err error) {
	return inserted, inTx(ctx, db, func(tx *sql.Tx) error {
		for part := range slices.Chunk(rows, chunk) {
			var b strings.Builder
			b.WriteString("insert into items " + columnSQL + " values ")
			args := make([]any, 0, 6*len(part))
			for i, a := range part {
				if i > 0 {
					b.WriteByte(',')
				}
				k := 6 * i
				fmt.Fprintf(&b, "($%d,$%d,$%d,$%d,$%d,$%d)", k+1, k+2, k+3, k+4, k+5, k+6)
				args = append(args, a.ID, a.Name, a.Email, a.Balance, a.Active, a.Made)
			}
			if conflict {
				b.WriteString(" on conflict do nothing")
			}
			result, err := tx.ExecContext(ctx, b.String(), args...)
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			inserted += n
		}
		return nil
	})
}

func openSQLX(ctx context.Context, url string) (*database, error) {
	raw, err := openDB(ctx, "pgx", url)
	if err != nil {
		return nil, err
	}
	db := sqlx.NewDb(raw, "pgx")
	return &database{
		get: func(ctx context.Context, id int64) (a account, err error) {
			err = db.GetContext(ctx, &a, getSQL, id)
			return a, err
		},
		list: func(ctx context.Context, from int64) (list []account, err error) {
			err = db.SelectContext(ctx, &list, listSQL, from)
			return list, err
		},
		transfer: func(ctx context.Context, from, to int64) error { return transfer(ctx, raw, from, to) },
		insert: func(ctx context.Context, rows []account, conflict bool) (inserted int64, err error) {
			tail := ""
			if conflict {
				tail = " on conflict do nothing"
			}
			tx, err := db.BeginTxx(ctx, nil)
			if err != nil {
				return 0, err
			}
			defer func() { _ = tx.Rollback() }()
			for part := range slices.Chunk(rows, chunk) {
				result, err := tx.NamedExecContext(ctx, "insert into items "+columnSQL+" values (:id, :name, :email, :balance, :active, :made)"+tail, part)
				if err != nil {
					return inserted, err
				}
				n, err := result.RowsAffected()
				if err != nil {
					return inserted, err
				}
				inserted += n
			}
			return inserted, tx.Commit()
		},
		close: func() { _ = raw.Close() },
	}, nil
}

func openBun(ctx context.Context, url string) (*database, error) {
	raw, err := openDB(ctx, "pgx", url)
	if err != nil {
		return nil, err
	}
	db := bun.NewDB(raw, pgdialect.New())
	return &database{
		get: func(ctx context.Context, id int64) (a account, err error) {
			err = db.NewSelect().Model(&a).ModelTableExpr("accounts AS account").Where("id = ?", id).Scan(ctx)
			return a, err
		},
		list: func(ctx context.Context, from int64) (list []account, err error) {
			err = db.NewSelect().Model(&list).ModelTableExpr("accounts AS account").Where("id >= ?", from).Order("id").Limit(listed).Scan(ctx)
			return list, err
		},
		transfer: func(ctx context.Context, from, to int64) error {
			return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
				if _, err := tx.NewUpdate().Table("accounts").Set("balance = balance - 1").Where("id = ?", from).Exec(ctx); err != nil {
					return err
				}
				_, err := tx.NewUpdate().Table("accounts").Set("balance = balance + 1").Where("id = ?", to).Exec(ctx)
				return err
			})
		},
		insert: func(ctx context.Context, rows []account, conflict bool) (inserted int64, err error) {
			err = db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
				for part := range slices.Chunk(rows, chunk) {
					q := tx.NewInsert().Model(&part).ModelTableExpr("items")
					if conflict {
						q = q.On("CONFLICT DO NOTHING")
					}
					result, err := q.Exec(ctx)
					if err != nil {
						return err
					}
					n, err := result.RowsAffected()
					if err != nil {
						return err
					}
					inserted += n
				}
				return nil
			})
			return inserted, err
		},
		close: func() { _ = raw.Close() },
	}, nil
}
