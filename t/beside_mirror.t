#!/usr/bin/env perl

# Sessions beside "mirror": if this fails, traffic that is mirrored for audit
# or for a test system is lost as soon as it becomes a WebSocket, a slow mirror
# holds up people who talk, or a worker waits for it at a reload.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::INET;

use Fanout::Nginx;


my $backend = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16)
    or die $!;
my $port = $backend->sockport;

my $nginx = Fanout::Nginx->start(
    http => <<"END",
        fanout_zone app 8m;
        fanout_channel app * history=10;
        fanout_drain 100ms;
        log_format short '\$status \$request_uri';
END
    server => <<"END",
        access_log %%DIR%%/access.log short;

        location /realtime {
            mirror /copy;
            fanout app;
            fanout_permit all *;
        }

        location /fanout/ {
            mirror /copy;
            fanout_api app;
        }

        location = /copy {
            internal;
            log_subrequest off;
            proxy_pass http://127.0.0.1:$port\$request_uri;
            proxy_set_header X-Mirrored \$http_upgrade;
        }
END
);


# what a mirror of the test's own was sent: its connection and the request

sub mirrored {
    my ($timeout) = @_;

    IO::Select->new($backend)->can_read($timeout // 10) or return;

    my $c = $backend->accept or return;
    my $text = '';

    while ($text !~ /\r\n\r\n/) {
        IO::Select->new($c)->can_read(10) or last;
        sysread $c, $text, 4096, length $text or last;
    }

    if ($text =~ /^Content-Length: (\d+)/mi) {
        my $want = $1 + index($text, "\r\n\r\n") + 4;

        while (length $text < $want) {
            sysread $c, $text, 4096, length $text or last;
        }
    }

    return ($c, $text);
}


sub answer {
    my ($c) = @_;

    syswrite $c, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    close $c;
}


sub logged {
    my ($uri) = @_;

    open my $f, '<', $nginx->dir . '/access.log' or return '';
    return join '', grep { /\Q$uri\E$/ } <$f>;
}


sub sends_and_receives {
    my ($ann, $channel, $data, $what) = @_;

    my $r = $ann->ok('publish', channel => $channel, data => $data);
    my $p = $ann->next_where(sub { ($_[0]{channel} // '') eq $channel });

    is($p && $p->{data}, $data, $what);
    return $r->{offset};
}


subtest 'a mirror that answers late' => sub {
    my $ann = $nginx->native(path => '/realtime?one');
    my ($c, $text) = mirrored();

    ok($c, 'the mirror is asked') or return;
    like($text, qr{^GET /realtime\?one HTTP}, 'for what the client asked');
    like($text, qr/^X-Mirrored: websocket\r$/m, 'with the headers it sent');

    $ann->ok('join', channel => 'a');
    is(sends_and_receives($ann, 'a', $_, "message $_ meanwhile"), $_,
       "its offset") for 1 .. 3;
    is(logged('/realtime?one'), '', 'the request goes on');

    answer($c);

    ok(wait_for(sub { logged('/realtime?one') eq "101 /realtime?one\n" }),
       'it ends when the mirror has answered');
    is(sends_and_receives($ann, 'a', $_, "message $_ afterwards"), $_,
       "its offset") for 4 .. 6;
    is($ann->close, 1000, 'a close');
    is(logged('/realtime?one'), "101 /realtime?one\n", 'logged once');
};


subtest 'a mirror that answers at once' => sub {
    for my $i (1 .. 5) {
        my $ann = $nginx->native(path => "/realtime?quick$i");
        my ($c, $text) = mirrored();

        like($text, qr{^GET /realtime\?quick$i }, 'is asked');
        answer($c);

        $ann->ok('join', channel => 'b');
        sends_and_receives($ann, 'b', $i, 'and the session works');
    }
};


subtest 'a mirror that is not there' => sub {
    my $ann = $nginx->native(path => '/realtime?reset');
    my ($c) = mirrored();

    close $c;

    $ann->ok('join', channel => 'c');
    ok(wait_for(sub { logged('/realtime?reset') }), 'the request ends');
    sends_and_receives($ann, 'c', 'x', 'the session does not');
};


subtest 'a client that goes while the mirror is asked' => sub {
    for my $how (qw( close cut disconnect )) {
        my $ann = $nginx->native(path => "/realtime?$how");
        my ($c, $text) = mirrored();

        $ann->ok('join', channel => 'd');
        $ann->$how;

        like($text, qr{^GET /realtime\?$how }, "$how: the mirror was asked");
        answer($c);
        ok(wait_for(sub { logged("/realtime?$how") eq
                          "101 /realtime?$how\n" }),
           "$how: and the request ends");
    }
};


subtest 'bytes of all sizes while the mirror is asked' => sub {
    my $ann = $nginx->native(path => '/realtime?sizes');
    my ($c) = mirrored();

    $ann->ok('join', channel => 'e');

    for my $size (0, 1, 100, 125, 126, 4000, 60000) {
        sends_and_receives($ann, 'e', 'x' x $size, "$size bytes");
        $ann->send_ping("p$size");
    }

    answer($c);
    ok(wait_for(sub { logged('/realtime?sizes') }), 'the mirror is done');
    sends_and_receives($ann, 'e', 'y' x 50000, 'and more');
};


subtest 'a publish by HTTP' => sub {
    my $http = $nginx->http;

    # the body is read for the mirror before the API sees it

    my $r = $http->post('/fanout/channels/f/messages', '{"big":"' . 'z' x 30000
                        . '"}');
    my ($c, $text) = mirrored();

    is($r->{status}, 201, 'answered before the mirror is');
    like($text, qr{^POST /fanout/channels/f/messages }, 'which is sent it');
    like($text, qr/\r\n\r\n\{"big":"z{30000}"\}$/, 'with its body');
    answer($c);

    is($http->get('/fanout/channels/f/messages')->{status}, 200, 'and read');
    ($c) = mirrored();
    answer($c);
};


subtest 'a reload while the mirror is asked' => sub {
    my $ann = $nginx->native(path => '/realtime?reload');
    my ($c) = mirrored();

    $ann->ok('join', channel => 'g');
    $nginx->reload;

    my $closing = $ann->next_where(sub { $_[0]{closing} });

    ok($closing && $closing->{closing}{reconnect}, 'the client is told');
    is($ann->wait_close, 1012, 'of a restart');
    $ann->disconnect;
    answer($c);

    ok(wait_for(sub { !$nginx->stopping_pids }), 'and the old workers go');
};


done_testing();
