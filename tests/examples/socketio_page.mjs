// A page's socket, on npm's socket.io-client. Arguments: the folder with the package, the app's address, an access token.
// Lines on standard input are newer tokens, or JSON arrays that are sent as they are, with nobody to hear an answer; what
// happens is written as JSON lines with the time (ms).
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const [folder, address, token] = process.argv.slice(2)
const { io } = createRequire(`${folder}/package.json`)('socket.io-client')
const tell = (event, fields) => console.log(JSON.stringify({ event, at: Date.now(), ...fields }))

const socket = io(address, { auth: { token }, transports: ['websocket'], reconnection: false })
socket.on('connect', () => tell('connected'))
socket.on('connect_error', (error) => { tell('refused', { reason: error.message }); process.exit() })
socket.on('session_ended', (why) => tell('told', why))
socket.on('said', (text) => tell('said', { text }))
socket.on('disconnect', (reason) => { tell('disconnected', { reason }); process.exit() })

for await (const newer of createInterface({ input: process.stdin })) {
  if (newer.startsWith('[')) socket.emit(...JSON.parse(newer))
  else socket.emit('token', newer, (problem) => { tell('extended', { problem }); socket.emit('say', 'still here') })
}
