// The site of the session cases on Express, express-session and connect-redis.
'use strict';
const cluster = require('node:cluster');
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');

// What a login puts into the session beside the user; as in sessionrole.go.
const profile = { name: 'Dr. Ada Lovelace-Byron', roles: 'doctor,reception,billing', csrf: '5f0c1b1e7a7d4e0c9a3f8d2b6c4e1a90' };

async function main() {
  const client = createClient({ url: process.env.REDIS_URL });
  await client.connect();
  const app = express();
  app.use(session({ store: new RedisStore({ client }), secret: 'a secret of the benchmarks, 0123456789abcdef', resave: false, saveUninitialized: false }));
  app.get('/anon', (req, res) => { res.send('<hello>'); });
  app.get('/login/:user', (req, res, next) => {
    req.session.regenerate((err) => {
      if (err) return next(err);
      Object.assign(req.session, profile, { user: req.params.user });
      if (req.query.size) req.session.large = '0123456789abcdef'.repeat(req.query.size / 16);
      res.send(`<${req.params.user}>`);
    });
  });
  app.get('/me', (req, res) => { res.send(`<${req.session.user ?? ''}>`); });
  app.get('/swap/:value', (req, res) => {
    const before = req.session.value ?? '';
    req.session.value = req.params.value;
    res.send(`<${before}>`);
  });
  const server = app.listen(0, '127.0.0.1', () => {
    if (cluster.isPrimary) console.log(`127.0.0.1:${server.address().port}`);
  });
  server.keepAliveTimeout = 60_000; // a connection rests while the other stacks work, and 5 s is Node's default
  if (cluster.isPrimary) process.stdin.resume().on('end', () => process.exit(0));
}

// With WORKERS=2 two processes share the port; the first tells the address when
// both listen.
if (cluster.isPrimary && process.env.WORKERS) {
  const workers = Number(process.env.WORKERS);
  let listening = 0;
  cluster.on('listening', (worker, address) => {
    if (++listening === workers) console.log(`127.0.0.1:${address.port}`);
  });
  for (let i = 0; i < workers; i++) cluster.fork();
  process.stdin.resume().on('end', () => process.exit(0));
} else {
  start();
}

function start() {
  main().catch((err) => { console.error(err); process.exit(1); });
}
