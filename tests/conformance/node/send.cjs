// Sends with Segment's own client for Node, as a shop's backend would. Told by one JSON argument; answers with one line of
// JSON: what the client says about each call, and whatever went wrong.
const told = JSON.parse(process.argv[2])
const { Analytics } = require(told.client)

async function main() {
  const failed = []
  const analytics = new Analytics({
    writeKey: told.writeKey,
    host: told.host,
    maxRetries: 6,
    maxEventsInBatch: told.batch,
    flushInterval: 200,
  })
  analytics.on('error', (fault) => failed.push(String(fault.reason ?? fault.code)))
  const { user } = told
  const sent = []
  const done = (error, context) => {
    if (error) failed.push(String(error))
    sent.push(context?.event?.messageId)
  }
  const consent = { consent: { categoryPreferences: { personalisation: told.granted } } }
  analytics.identify({ userId: user, anonymousId: `anon-${user}`, traits: { город: 'Казань' }, context: consent }, done)
  for (let number = 0; number < told.count; number += 1) {
    const properties = { product_id: `p${number}`, name: 'Чайник «Ласточка»' }
    analytics.track({ userId: user, event: 'Product Viewed', properties, messageId: `${user}-${number}` }, done)
  }
  analytics.page({ userId: user, category: 'shop', name: 'home', properties: { url: 'https://shop.example/' } }, done)
  analytics.screen({ userId: user, name: 'basket' }, done)
  analytics.group({ userId: user, groupId: 'club-1', traits: { name: 'Клуб' } }, done)
  analytics.alias({ userId: user, previousId: `anon-${user}` }, done)
  await analytics.closeAndFlush({ timeout: 40000 })
  process.stdout.write(JSON.stringify({ failed, sent: sent.length }) + '\n')
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
})
