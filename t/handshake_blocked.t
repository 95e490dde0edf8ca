#!/usr/bin/env perl

# A handshake whose answer does not fit into the socket: if this fails, the
# connection of a client that does not read it, and its session, stay for ever,
# or with some ways of waiting for events the answer is never sent.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my %http = (
    websocket => "GET /rt HTTP/1.1\r\nHost: localhost\r\n"
               . "Upgrade: websocket\r\nConnection: Upgrade\r\n"
               . "Sec-WebSocket-Version: 13\r\n"
               . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    sse       => "GET /rt?channel=a HTTP/1.1\r\nHost: localhost\r\n"
               . "Accept: text/event-stream\r\n\r\n",
    poll      => "GET /rt?channel=a&poll=1&timeout=1 HTTP/1.1\r\n"
               . "Host: localhost\r\n\r\n",
    refusal   => "GET /rt HTTP/1.1\r\nHost: localhost\r\n"
               . "Upgrade: websocket\r\nConnection: Upgrade\r\n"
               . "Sec-WebSocket-Version: 12\r\n\r\n",
);

# Header fields of half a megabyte.

my $header = join '', 'set $x "', '0123456789' x 50, '";',
                      'set $y "', '$x' x 100, '"; set $z "', '$y' x 10, '";',
                      'add_header X-Large $z always;';

for my $events (available()) {
    my $nginx = Fanout::Nginx->start(
        events => "use $events; worker_connections 512;",
        http => <<'END',
            fanout_zone app 8m;
            fanout_channel app *;
            fanout_drain 100ms;
            send_timeout 1s;
END
        servers => <<"END",
            server {
                listen 127.0.0.1:%%PORT1%% sndbuf=8k;
                location /rt { $header fanout app; fanout_permit all *; }
            }
            server {
                listen 127.0.0.1:%%PORT2%% sndbuf=8k;
                send_timeout 1m;
                location /rt { $header fanout app; fanout_permit all *; }
            }
END
        server => 'location /status { fanout_status app; }',
    );

    my $sessions = sub {
        my $n = 0;
        $n += $_->{sessions}
            for @{ $nginx->http->get('/status')->json->{workers} };
        return $n;
    };

    for my $kind (sort keys %http) {

        # one that does not read

        my $stuck = Fanout::Socket->open(port => $nginx->port('PORT1'),
                                         rcvbuf => 4096);
        my $port  = $stuck->local_port;

        $stuck->send_bytes($http{$kind});

        ok($nginx->wait_log(qr/client timed out .*: \S+/, 20)
           && wait_for(sub { !$sessions->() }, 20),
           "$events, $kind: a client that does not read is cut");

        ok(wait_for(sub { !grep { /:$port\b/ } established($nginx) }, 20),
           "$events, $kind: and its connection");

        # one that reads late

        my $late = Fanout::Socket->open(port => $nginx->port('PORT2'),
                                        rcvbuf => 4096);
        my $buffer = $late->buffer;

        $late->send_bytes($http{$kind});
        select undef, undef, undef, .3;

        1 while $$buffer !~ /\r\n\r\n/ && $late->fill(20);

        my ($large) = $$buffer =~ m{^HTTP/1.1 \d+ .*\r\nX-Large: (\d+)\r\n}s;

        is(length($large || ''), 500_000,
           "$events, $kind: who reads late gets all of it");

        next if $kind eq 'refusal';

        my $more = { websocket => 'welcome', sse => 'welcome',
                     poll => '\]' }->{$kind};

        1 while $$buffer !~ /\r\n\r\n.*$more/s && $late->fill(20);
        like($$buffer, qr/\r\n\r\n.*$more/s, "$events, $kind: and more");

        $late->disconnect;
        wait_for(sub { !$sessions->() }, 20);
    }

    my $old = Fanout::Socket->open(port => $nginx->port('PORT1'),
                                   rcvbuf => 4096);
    $old->send_bytes($http{websocket});
    wait_for(sub { $sessions->() });

    $nginx->reload;
    ok(wait_for(sub { !$nginx->stopping_pids }, 20),
       "$events: a reload is not held up");
}


# the ways of waiting for events that this NGINX was built with

sub available {
    my $binary = Fanout::Nginx::binary();
    my $flags  = `$binary -V 2>&1`;

    return 'epoll', grep { $flags =~ /--with-${_}_module/ } qw( poll select );
}


# connections that the server has here, by the other port

sub established {
    my ($nginx) = @_;

    my $port = sprintf '%04X', $nginx->port('PORT1');

    return map { /^\s*\d+: \w+:$port \w+:(\w+) 01 / ? ':' . hex $1 : () }
               split /\n/, Fanout::Nginx::slurp('/proc/net/tcp');
}


done_testing();
