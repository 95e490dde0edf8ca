#!/usr/bin/env perl

# The error log: if this fails, clients fill it at a level that wakes operators,
# what operators have to know is not said, or a line does not tell who it is
# about.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10;
END
    server => <<'END',
        server_name here.test;
        location /realtime { fanout app; fanout_permit all *; }
        location /raw   { fanout app; fanout_dialect raw;
                          fanout_permit join *; fanout_rate 1r/s; }
        location /quick { fanout app; fanout_permit all *;
                          fanout_ping 100ms; fanout_timeout 100ms; }
        location /var   { fanout app; fanout_permit all room:$arg_x; }
        location /one   { fanout app; fanout_permit all *; fanout_sessions 1; }
END
);


# The lines about a fault: all of one level, each with who it is about.

sub said {
    my ($what, $level, $regex, $suffix) = @_;

    my @lines;
    wait_for(sub { @lines = $nginx->log_like($regex) });

    ok(@lines, "$what: is said") or return;
    is(scalar(grep { !/ \[$level\] / } @lines), 0, "$what: as $level")
        or diag(@lines);
    like($lines[0], $suffix, "$what: and about whom");
}

my $handshake = qr/, client: 127\.0\.0\.1, server: here\.test, request: "GET /;
my $session   = qr/, client: 127\.0\.0\.1, server: \S+$/;


$nginx->http->get('/realtime');
said('no handshake', 'info',
     qr/fanout refused a handshake with 426: this is a WebSocket endpoint/,
     $handshake);

$nginx->ws(path => '/realtime', expect => undef,
           headers => { Origin => "https://evil.test" });
said('an origin', 'info',
     qr{with 403: this origin is not allowed: fanout_origin, origin: "https://evil\.test"},
     $handshake);

$nginx->native(path => '/realtime')->send_frame(3, 'x');
said('a broken protocol', 'info', qr/fanout session is closed with 1002: \w/,
     $session);

$nginx->native(path => '/realtime')->send_frame(2, 'x');
said('a frame of another kind', 'info',
     qr/closed with 1003: text frames are needed/, $session);

$nginx->ws(path => '/raw?channel=a')->send_text('x');
said('no permission, raw', 'info', qr/closed with 4403: fanout_permit publish/,
     $session);

my $mute = $nginx->native(path => '/quick');
said('silence', 'info',
     qr/fanout client does not answer pings \(110: /,
     $session);

$nginx->native(path => '/var');
said('a permission for nobody', 'info',
     qr/fanout_permit "room:\$arg_x" grants nothing/, $handshake);

my @in = map { $nginx->ws(path => '/one', expect => undef) } 1 .. 4;
said('sessions', 'warn', qr/limit of 1 sessions is reached in this worker/,
     $handshake);

# a reason of the client's is not repeated, whatever is in it

$nginx->native(path => '/realtime')->close(3000, "forged\nline");
is(scalar($nginx->log_like(qr/forged/)), 0, 'nothing that a client has said');

my ($pid) = $nginx->worker_pids;
$nginx->kill_worker($pid);
said('a worker that died', 'notice',
     qr/fanout zone "app": cleaned up after a dead worker/, qr/worker$/);

# what was about clients only, was for nobody else

is(scalar(grep { !/limit of 1 sessions|exited on signal/ }
          $nginx->log_like(qr/\[(?:warn|error|crit|alert|emerg)\]/)), 0,
   'no client has raised its voice');
