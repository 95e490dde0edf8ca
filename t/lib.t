#!/usr/bin/perl

# The test library itself, on an NGINX without the module. If this fails, no
# other result means anything: tests could pass on a server that is not there,
# or miss an alert in its log.

use strict;
use warnings;

use Digest::SHA qw( sha1_base64 );
use FindBin;
use IO::Select;
use IO::Socket::INET;
use POSIX ();

use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    module => '',
    tls    => 1,
    server => <<'END',
        location = /pid  { return 200 "$pid"; }
        location = /long { return 200 "a long one: $request_uri"; }
        location = /echo { return 201 "$request_method $http_x_a"; }
        location = /none { return 204; }
END
);

is(scalar $nginx->worker_pids, 2, 'two workers');

my ($one, $two) = $nginx->worker_pids;


# HTTP

my $http = $nginx->http;
my $r    = $http->get('/pid');

is($r->{status}, 200, 'a response');
is($r->{body}, $r->{headers}{'x-worker'}, 'with a body and headers');

$http->get('/pid') for 1 .. 3;
is($http->reused, 3, 'keepalive');

$r = $http->post('/echo', 'body', headers => { 'X-A' => 'b' });
is("$r->{status} $r->{body}", '201 POST b', 'method and headers are sent');
is($http->head('/long')->{body}, '', 'no body after HEAD');
is($http->get('/none')->{status}, 204, 'no body with 204');
is($http->raw("nonsense\r\n\r\n")->{status}, 400, 'raw bytes');
is($http->get('/long', close => 1)->{status}, 200, 'a new connection');

is($nginx->http(tls => 1)->get('/pid')->{status}, 200, 'TLS');


# workers

for my $pid ($one, $two, $one) {
    my $client = $nginx->http(worker => $pid);

    is($client->get('/pid')->{body}, $pid, 'the worker that was asked for');
    is($nginx->worker_of($client), $pid, 'and seen in /proc');
    is($client->reused, 1, 'on the same connection');
}

ok($nginx->kill_worker($one), 'a killed worker is replaced');
ok(!(grep { $_ == $one } $nginx->worker_pids), 'by another');

my %old = map { $_ => 1 } $nginx->worker_pids;

ok($nginx->reload(wait_old => 1), 'reload');
is(scalar(grep { $old{$_} } $nginx->worker_pids), 0, 'new workers');

ok($nginx->reload(workers => 3, server => 'return 202;', wait_old => 1),
   'reload with another configuration');
is(scalar $nginx->worker_pids, 3, 'its workers');
is($nginx->http->get('/')->{status}, 202, 'its answer');

ok($nginx->try_reload(qr/unknown directive "nonsense"/,
                      server => 'nonsense on;'), 'a reload that fails');
is($nginx->http->get('/')->{status}, 202, 'changes nothing');

ok($nginx->rss($two) == 0 && $nginx->rss(($nginx->worker_pids)[0]) > 100_000,
   'memory of a process');

ok($nginx->stop('quit'), 'stop');
ok(!eval { $nginx->http->get('/'); 1 }, 'nobody answers then');
ok($nginx->restart, 'restart');
is($nginx->http->get('/')->{status}, 202, 'on the same port');

$nginx->signal(($nginx->worker_pids)[0], 'STOP');


# faults in the log

my $faulty = Fanout::Nginx->start(module => '', workers => 1);
my ($worker) = $faulty->worker_pids;

$faulty->signal($worker, 'KILL');
ok($faulty->wait_log(qr/exited on signal 9/), 'a worker died');
is(scalar $faulty->faults, 1, 'which is a fault');
$faulty->allow(qr/$worker exited on signal 9/);
is(scalar $faulty->faults, 0, 'unless it is allowed');

for my $report ('x.c:1:2: runtime error: shift', 'ERROR: AddressSanitizer: x') {
    open my $f, '>>', $faulty->dir . '/stderr' or die;
    print $f "$report\n";
    close $f;

    $faulty->allow(qr/./);
    is(scalar $faulty->faults, 1, 'a report is a fault, whatever is allowed');

    open $f, '>', $faulty->dir . '/stderr' or die;
}

ok(!eval { Fanout::Nginx->start(module => '', main => 'nonsense;'); 1 },
   'a start that fails');
like($@, qr/unknown directive "nonsense"/, 'says why');


# WebSocket, against an echo of our own

my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8)
    or die $!;
my $echo = fork;

if (!$echo) {
    $SIG{TERM} = 'DEFAULT';
    Fanout::Nginx::die_with_parent();
    echo($listen);
    POSIX::_exit(0);
}

my $port = $listen->sockport;
my $ws   = Fanout::WS->connect(port => $port, subprotocols => [ 'a', 'b' ]);

is($ws->subprotocol, 'b', 'the subprotocol');

for my $size (0, 1, 125, 126, 127, 128, 65535, 65536, 200_000) {
    my $payload = join('', 'a' .. 'z') x ($size / 26 + 1);
    $payload = substr $payload, 0, $size;

    $ws->send_text($payload);
    ok($ws->recv_text eq $payload, "$size bytes");
}

$ws->send_frame(2, 'one', fin => 0);
$ws->send_frame(0, 'two', size => 64, rsv => 0);
my $message = $ws->recv_message;
is("$message->{opcode} $message->{payload}", '2 onetwo', 'fragments');

$ws->send_ping('p');
is($ws->recv_frame->{opcode}, 9, 'single frames');
is(unpack('H*', $ws->frame(1, 'a', fin => 0, rsv => 5, mask => 'abcd')),
   '5181' . '61626364' . '00', 'every bit');
is(unpack('H*', $ws->frame(1, 'a', mask => 0, length => 2**32)),
   '817f000000010000000061', 'every length');
is($ws->poll_frame, undef, 'a poll');
is($ws->close(4001, 'why'), 4001, 'close');
is($ws->close_reason, 'why', 'its reason');

ok(!eval { Fanout::WS->connect(port => $nginx->port); 1 }, 'refused');
like($@, qr/^the handshake got 202/, 'says how');
is($nginx->ws(expect => 202)->status, 202, 'refused as expected');

my ($a, $b) = map { Fanout::WS->connect(port => $port) } 1, 2;

$b->send_text('x');
is_deeply([ Fanout::WS::ready(5, $a, $b) ], [ $b ], 'who can be read');
is($b->recv_text, 'x', 'is read');
$a->cut;
ok($a->eof, 'cut');


# the native protocol: what the echo sends back sorts as the server's would

my $native = Fanout::Native->connect(port => $port, welcome => 0);

$native->send_json([ { channel => 'a', offset => 1 }, { id => 1, part => 7 },
                     { channel => 'a', offset => 2 }, { id => 1, ok => {} } ]);
is_deeply($native->reply(1), { id => 1, ok => {}, part => [7] },
          'a reply with its parts');
is($native->next_where(sub { $_[0]{offset} == 2 })->{offset}, 2, 'one push');
is_deeply([ map { $_->{offset} } $native->drain ], [1], 'the rest');
is_deeply([ map { $_->{op} } $native->batch({ op => 'x', ok => 1 },
                                            { op => 'y', ok => 1 }) ],
          [ 'x', 'y' ], 'a batch');

kill 'TERM', $echo;
waitpid $echo, 0;


sub echo {
    my ($listen) = @_;

    my $select = IO::Select->new($listen);
    my %client;

    while (my @ready = $select->can_read) {
        for my $s (@ready) {
            if ($s == $listen) {
                my $new = $listen->accept or next;
                $client{$new} = accept_one($new);
                $select->add($new);
                next;
            }

            next if answer($client{$s});

            $select->remove($s);
            delete $client{$s};
            close $s;
        }
    }
}


sub accept_one {
    my ($s) = @_;

    my $request = '';

    sysread $s, $request, 4096, length $request
        until $request =~ /\r\n\r\n/;

    my ($key) = $request =~ /^Sec-WebSocket-Key: (\S+)/m;

    print $s "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: "
           . sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11')
           . "=\r\nSec-WebSocket-Protocol: b\r\n\r\n";
    $s->flush;
    $s->blocking(0);

    my $buffer = '';

    return bless { sock => $s, buffer => \$buffer, eof => 0 }, 'Fanout::WS';
}


sub answer {
    my ($c) = @_;

    $c->fill(0);

    while (my $f = $c->take_frame) {
        $c->send_frame($f->{opcode}, $f->{payload}, mask => 0,
                       fin => $f->{fin});
    }

    return !$c->eof;
}
