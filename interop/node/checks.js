// Checks a server with the Node client `etcd3`: `checks.js HOST:PORT`.
//
// Prints `ok NAME` or `failed NAME: why` for each check, and `done N` at the end.
// Each check uses keys of its own, which begin with its name.
"use strict";

const assert = require("node:assert");
const { Etcd3, isRecoverableError } = require("etcd3");

const client = new Etcd3({ hosts: `http://${process.argv[2]}` });
const WAIT_MS = 20000;

function within(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("nothing came in time")), WAIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const checks = {
  async puts_and_gets(key) {
    await client.put(key).value("1");
    assert.strictEqual(await client.get(key).string(), "1");
    assert.strictEqual(await client.get(`${key}/none`).string(), null);
    const response = await client.get(key).exec();
    assert.strictEqual(response.kvs[0].version, "1");
    assert.strictEqual(response.header.revision, response.kvs[0].mod_revision);
  },

  async bytes_pass_unchanged(key) {
    const value = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    await client.put(key).value(value);
    assert.deepStrictEqual(await client.get(key).buffer(), value);
  },

  async prefixes_are_read_sorted_and_limited(key) {
    for (const name of ["b", "a", "c"]) await client.put(`${key}/${name}`).value(name);
    const all = await client.getAll().prefix(`${key}/`).strings();
    assert.deepStrictEqual(Object.values(all), ["a", "b", "c"]);
    const last = await client.getAll().prefix(`${key}/`).sort("Key", "Descend").limit(2).keys();
    assert.deepStrictEqual(last, [`${key}/c`, `${key}/b`]);
    assert.strictEqual(await client.getAll().prefix(`${key}/`).count(), 3);
  },

  async deletes_say_how_many(key) {
    for (const name of ["a", "b"]) await client.put(`${key}/${name}`).value(name);
    const deleted = await client.delete().prefix(`${key}/`);
    assert.strictEqual(deleted.deleted, "2");
    assert.strictEqual(await client.getAll().prefix(`${key}/`).count(), 0);
  },

  async transactions_take_one_branch(key) {
    const attempt = (version) =>
      client
        .if(key, "Version", "==", version)
        .then(client.put(key).value("then"))
        .else(client.get(key))
        .commit();
    assert.strictEqual((await attempt(0)).succeeded, true);
    const second = await attempt(0);
    assert.strictEqual(second.succeeded, false);
    assert.strictEqual(second.responses[0].response_range.kvs[0].value.toString(), "then");
  },

  async memory_transactions_repeat_after_a_conflict(key) {
    await client.put(key).value("1");
    let runs = 0;
    await client.stm().transact(async (tx) => {
      runs += 1;
      const value = Number(await tx.get(key).string());
      if (runs === 1) await client.put(key).value("10");
      await tx.put(key).value(String(value + 1));
    });
    assert.strictEqual(runs, 2);
    assert.strictEqual(await client.get(key).string(), "11");
  },

  async watches_tell_of_puts_and_deletes(key) {
    const watcher = await client.watch().prefix(key).create();
    const put = new Promise((resolve) => watcher.on("put", resolve));
    const gone = new Promise((resolve) => watcher.on("delete", resolve));
    await client.put(`${key}/a`).value("1");
    await client.delete().key(`${key}/a`);
    assert.strictEqual((await within(put)).value.toString(), "1");
    assert.strictEqual((await within(gone)).key.toString(), `${key}/a`);
    await watcher.cancel();
  },

  async watches_begin_in_the_past(key) {
    const first = await client.put(key).value("1");
    await client.put(key).value("2");
    const watcher = await client
      .watch()
      .key(key)
      .startRevision(first.header.revision)
      .create();
    const values = [];
    const both = new Promise((resolve) =>
      watcher.on("put", (kv) => {
        values.push(kv.value.toString());
        if (values.length === 2) resolve();
      }),
    );
    await within(both);
    assert.deepStrictEqual(values, ["1", "2"]);
    await watcher.cancel();
  },

  async keys_end_with_their_lease(key) {
    const lease = client.lease(60);
    await lease.put(key).value("1");
    await lease.keepaliveOnce();
    assert.strictEqual(await client.get(key).string(), "1");
    await lease.revoke();
    assert.strictEqual(await client.get(key).string(), null);
  },

  async a_lease_that_is_not_there_is_told(key) {
    const lease = client.lease(60);
    await lease.put(key).value("1");
    const id = await lease.grant();
    await client.leaseClient.leaseRevoke({ ID: id });
    await assert.rejects(lease.keepaliveOnce(), /lease/i);
  },

  async locks_exclude(key) {
    const lock = await client.lock(key).ttl(60).acquire();
    await assert.rejects(client.lock(key).ttl(60).acquire(), /lock/i);
    await lock.release();
    const next = await client.lock(key).ttl(60).acquire();
    await next.release();
  },

  async elections_have_a_leader(key) {
    const election = client.election(key, 60);
    const campaign = election.campaign("me");
    await within(new Promise((resolve, reject) => {
      campaign.on("elected", resolve);
      campaign.on("error", reject);
    }));
    assert.strictEqual(await election.leader(), "me");
    await campaign.resign();
    assert.strictEqual(await election.leader(), undefined);
  },

  async errors_have_etcds_texts() {
    const put = client.kv.put({ key: Buffer.alloc(0), value: Buffer.from("1") });
    await assert.rejects(put, /key is not provided/);
    await assert.rejects(put, (error) => !isRecoverableError(error));
  },

  async the_status_names_a_version() {
    const status = await client.maintenance.status();
    assert.match(status.version, /^3\.\d+\.\d+$/);
    const { members } = await client.cluster.memberList({});
    assert.strictEqual(members.length, 1);
  },
};

async function main() {
  let done = 0;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await within(check(name));
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`failed ${name}: ${String(error).split("\n").join(" ")}`);
    }
    done += 1;
  }
  client.close();
  console.log(`done ${done}`);
  process.exit(0);
}

main();
