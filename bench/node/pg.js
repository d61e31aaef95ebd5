// Does the work of the PostgreSQL cases with pg and pg-pool. Reads a line of
// JSON for each slice and answers with one.
'use strict';
const readline = require('node:readline');
const { types } = require('pg');
const Pool = require('pg-pool');

types.setTypeParser(20, Number); // bigint, as the others read it
const connect = () => new Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
let pool = connect();
const columns = 'id, name, email, balance, active, made';

const work = {
  async get(caller, i) {
    const id = ((caller * 61 + i * 7) % 1000) + 1;
    const { rows } = await pool.query({ name: 'get', text: `select ${columns} from accounts where id = $1`, values: [id] });
    if (rows.length !== 1 || rows[0].id !== id) throw new Error('wrong answer');
    return 1;
  },
  async list(caller, i) {
    const from = ((caller * 61 + i * 7) % 900) + 1;
    const { rows } = await pool.query({ name: 'list', text: `select ${columns} from accounts where id >= $1 order by id limit 100`, values: [from] });
    if (rows.length !== 100 || rows[99].id !== from + 99) throw new Error('wrong answer');
    return 100;
  },
  async transfer(caller) {
    const client = await pool.connect();
    try {
      await client.query('begin');
      await client.query({ name: 'take', text: 'update accounts set balance = balance - 1 where id = $1', values: [2 * caller + 1] });
      await client.query({ name: 'give', text: 'update accounts set balance = balance + 1 where id = $1', values: [2 * caller + 2] });
      await client.query('commit');
    } catch (e) {
      await client.query('rollback');
      throw e;
    } finally {
      client.release();
    }
    return 1;
  },
};

// insert sends VALUES lists of a thousand rows, in a transaction.
async function insert(n, conflict) {
  const made = new Date('2026-01-02T03:04:05Z');
  const rows = Array.from({ length: n }, (_, i) => [i + 1, 'A name', `a${i}@example.com`, i, true, made]);
  const began = performance.now();
  let inserted = 0;
  const client = await pool.connect();
  try {
    await client.query('begin');
    for (let from = 0; from < n; from += 1000) {
      const values = [];
      const lists = rows.slice(from, from + 1000).map((row, i) => {
        values.push(...row);
        const k = 6 * i;
        return `($${k + 1},$${k + 2},$${k + 3},$${k + 4},$${k + 5},$${k + 6})`;
      });
      const result = await client.query(`insert into items (${columns}) values ${lists.join(',')}${conflict ? ' on conflict do nothing' : ''}`, values);
      inserted += result.rowCount;
    }
    await client.query('commit');
  } finally {
    client.release();
  }
  const took = performance.now() - began;
  return { Units: n, ElapsedMS: took, P50MS: took, P99MS: took, Inserted: inserted };
}

async function slice({ op, callers, ms, n }) {
  if (op === 'reconnect') {
    await pool.end();
    pool = connect();
    return {};
  }
  if (n > 0) return insert(n, op === 'upsert');
  const waits = [];
  let units = 0;
  const began = performance.now();
  await Promise.all(Array.from({ length: callers }, async (_, caller) => {
    for (let i = 0; ; i++) {
      const start = performance.now();
      if (i > 0 && start - began > ms) return;
      const n = await work[op](caller, i);
      units += n; // not in one: it would read units before it waits
      waits.push(performance.now() - start);
    }
  }));
  const took = performance.now() - began;
  waits.sort((a, b) => a - b);
  const fast = waits.slice(0, Math.ceil(waits.length * 0.9)); // as harness.go has it
  const sum = fast.reduce((a, b) => a + b, 0);
  const Fast = callers === 1 ? (units / waits.length) * fast.length * 1e3 / sum : 0;
  return { Units: units, ElapsedMS: took, P50MS: waits[waits.length >> 1], P99MS: waits[Math.floor(waits.length * 0.99)], Fast };
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  let answer;
  try {
    answer = await slice(JSON.parse(line));
  } catch (e) {
    answer = { Error: String(e) };
  }
  console.log(JSON.stringify(answer));
}).on('close', () => process.exit(0));

console.log('ready');
