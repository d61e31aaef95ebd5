// The service before the move: Express, express-session on connect-redis, pg.
const express = require('express')
const session = require('express-session')
const { RedisStore } = require('connect-redis')
const { createClient } = require('redis')
const { Pool } = require('pg')

async function main () {
  // begin connect
  const pool = new Pool({
    connectionString: process.env.DATABASE_URL,
    max: Number(process.env.DB_POOL_MAX ?? 20),
    min: Number(process.env.DB_POOL_MIN ?? 2),
    idleTimeoutMillis: Number(process.env.DB_IDLE_TIMEOUT ?? 30000),
    connectionTimeoutMillis: Number(process.env.DB_CONNECTION_TIMEOUT ?? 10000),
    statement_timeout: Number(process.env.DB_STATEMENT_TIMEOUT ?? 30000),
    query_timeout: Number(process.env.DB_QUERY_TIMEOUT ?? 30000),
    application_name: process.env.APP_NAME ?? 'pedro-backend'
  })
  pool.on('error', err => console.error(err))
  const redis = createClient({ url: process.env.REDIS_URL })
  redis.on('error', err => console.error(err))
  await redis.connect()
  // end connect

  // begin transaction
  async function transaction (work) {
    const client = await pool.connect()
    try {
      await client.query('BEGIN')
      const result = await work(client)
      await client.query('COMMIT')
      return result
    } catch (err) {
      await client.query('ROLLBACK')
      throw err
    } finally {
      client.release()
    }
  }

  const book = (patient, reason) => transaction(async client => {
    const visit = await client.query('insert into visits (patient, reason) values ($1, $2) returning id', [patient, reason])
    await client.query('update patients set visits = visits + 1 where id = $1', [patient])
    return Number(visit.rows[0].id)
  })
  // end transaction

  // begin cache
  const cache = {
    get: async key => JSON.parse(await redis.get(key)),
    set: (key, value, ttl) => redis.set(key, JSON.stringify(value), { EX: ttl }),
    del: key => redis.del(key),
    clearPattern: async pattern => {
      const keys = await redis.keys(pattern)
      return keys.length ? redis.del(keys) : 0
    }
  }

  async function patient (id) {
    const cached = await cache.get('patient:' + id)
    if (cached) return cached
    const found = await pool.query('select name, visits from patients where id = $1', [id])
    await cache.set('patient:' + id, found.rows[0], 3600)
    return found.rows[0]
  }
  // end cache

  const app = express()
  // begin session
  app.use(session({
    name: process.env.SESSION_NAME ?? 'pedro.sid',
    secret: process.env.SESSION_SECRET.split(','),
    store: new RedisStore({ client: redis }),
    resave: false,
    saveUninitialized: false,
    cookie: { httpOnly: true, sameSite: 'lax', secure: process.env.NODE_ENV === 'production', maxAge: 24 * 3600 * 1000 }
  }))

  app.post('/login', (req, res, next) => {
    req.session.regenerate(err => {
      if (err) return next(err)
      req.session.userId = req.query.user
      req.session.isAuthenticated = true
      req.session.role = 'nurse'
      res.sendStatus(204)
    })
  })
  app.post('/logout', (req, res, next) => req.session.destroy(err => err ? next(err) : res.sendStatus(204)))

  const requireAuth = (req, res, next) => req.session.isAuthenticated ? next() : res.sendStatus(401)
  app.get('/me', requireAuth, (req, res) => res.json({ user: req.session.userId, role: req.session.role }))
  // end session

  app.get('/patients/:id', requireAuth, async (req, res) => res.json(await patient(req.params.id)))
  app.post('/patients/:id/visits', requireAuth, async (req, res) => {
    const visit = await book(req.params.id, req.query.reason)
    await cache.del('patient:' + req.params.id)
    res.json({ visit })
  })

  // begin health
  app.get('/api/health/live', (req, res) => res.json({ status: 'ok' }))
  app.get('/api/health/ready', async (req, res) => {
    try {
      await pool.query('select 1')
      await redis.ping()
      res.json({ status: 'ok' })
    } catch (err) {
      res.status(503).json({ status: 'unavailable' })
    }
  })
  // end health

  // begin stop
  const server = app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
    console.log('http://127.0.0.1:' + server.address().port)
  })
  process.on('SIGTERM', () => server.close(async () => {
    await redis.quit()
    await pool.end()
    process.exit(0)
  }))
  // end stop
}

main()
