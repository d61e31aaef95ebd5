// The Node side of TestExpress: login, change and logout as an Express service
// does them. Configuration comes from the environment.
const express = require('express')
const session = require('express-session')
const { RedisStore } = require('connect-redis')
const { createClient } = require('redis')

async function main () {
  const client = createClient({ url: process.env.REDIS_URL })
  client.on('error', () => {})
  await client.connect()
  const app = express()
  app.use(session({
    name: 'pedro.sid',
    secret: process.env.SESSION_SECRET.split(','),
    store: new RedisStore({ client }),
    resave: false,
    saveUninitialized: false,
    rolling: process.env.ROLLING === 'true',
    cookie: { maxAge: process.env.MAX_AGE ? Number(process.env.MAX_AGE) : undefined, sameSite: 'lax' }
  }))
  app.get('/login', (req, res, next) => {
    const before = { ...req.session }
    req.session.regenerate(err => {
      if (err) return next(err)
      delete before.cookie
      Object.assign(req.session, before)
      req.session.userId = /^\d+$/.test(req.query.u) ? Number(req.query.u) : req.query.u
      req.session.role = 'nurse'
      res.end()
    })
  })
  app.get('/logout', (req, res, next) => req.session.destroy(err => err ? next(err) : res.end()))
  app.get('/me', (req, res) => {
    if (req.session.userId === undefined) return res.status(401).end('nobody')
    res.end(String(req.session.userId))
  })
  app.get('/type', (req, res) => res.end(typeof req.session.userId))
  app.get('/set', (req, res) => { req.session[req.query.k] = req.query.v; res.end() })
  app.get('/get', (req, res) => res.end(req.session[req.query.k] ?? ''))
  app.get('/cookie', (req, res) => res.json(req.session.cookie))
  const server = app.listen(0, '127.0.0.1', () => console.log('http://127.0.0.1:' + server.address().port))
  process.stdin.resume().on('end', () => process.exit(0))
}

main()
