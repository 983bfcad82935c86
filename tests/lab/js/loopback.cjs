// Loaded before a server that would listen on every interface: makes it listen on 127.0.0.1,
// on the port in LAB_PORT (0: any), and print `{"port":…}` once it does.
const { Server } = require('node:net');

const listen = Server.prototype.listen;
Server.prototype.listen = function (...wanted) {
  const whenListening = wanted.findLast((argument) => typeof argument === 'function');
  this.once('listening', () => {
    process.stdout.write(`${JSON.stringify({ port: this.address().port })}\n`);
  });
  return listen.call(this, { port: Number(process.env.LAB_PORT ?? 0), host: '127.0.0.1' }, whenListening);
};
