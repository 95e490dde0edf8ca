#!/usr/bin/perl

# Networks that block: if this fails, people behind a proxy that knows no
# WebSocket, or that keeps a stream to itself until it is long, sit before a
# page that connects and connects; or scripts with curl are told nothing until
# the end.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Quickstart;
use Fanout::Tabs;


# In front of the quickstart: one that passes no upgrade, and one that reads
# responses to their end as well

my $conf = quickstart();

$conf =~ s/linger=5s/linger=100s/ or die 'no linger';
$conf =~ s/(\n\}\s*)\z// or die 'no end';
$conf .= <<'END';

    server {
        listen 127.0.0.1:%%PORT1%%;
        location / {
            proxy_pass        http://127.0.0.1:%%PORT%%;
            proxy_set_header  Host $http_host;
        }
    }

    server {
        listen 127.0.0.1:%%PORT2%%;
        location / {
            proxy_pass            http://127.0.0.1:%%PORT%%;
            proxy_set_header      Host $http_host;
            proxy_ignore_headers  X-Accel-Buffering;
            proxy_buffers         8 64k;
            proxy_buffer_size     64k;
        }
    }
}
END

my $nginx = Fanout::Nginx->start(conf => $conf);
my $tabs  = Fanout::Tabs->start;

my %ways = (websocket => 'PORT', sse => 'PORT1', poll => 'PORT2');


# what the page's module has

sub page { "import('/room.js').then((m) => $_[0])" }


sub say_in {
    my ($tab, $text) = @_;

    $tabs->fill($tab, '#text', $text);
    $tabs->press($tab, '#text', 'Enter');
}


for my $way (qw( websocket sse poll )) {
    $tabs->open($way, 'http://127.0.0.1:' . $nginx->port($ways{$way}) . '/');
    ok($tabs->wait($way, '#state', 'connected', 60), "$way: a page is let in");
    is($tabs->evaluate($way, 'document.getElementById("state").dataset.way'),
       $way, "$way: by that");
}

for my $way (qw( websocket sse poll )) {
    ok(wait_for(sub {
        $tabs->evaluate($way,
            'document.querySelectorAll("#people li:not(.gone)").length') == 3;
    }, 20), "$way: sees all three")
        or diag(explain($tabs->texts($way, '#people li')));
}

for my $way (qw( websocket sse poll )) {
    say_in($way, "hello by $way");

    for my $other (qw( websocket sse poll )) {
        ok($tabs->wait($other, '#log', "hello by $way", 20),
           "$way is heard by $other")
            or diag(explain($tabs->texts($way, '#log')));
    }
}


# cut, and back

for my $way (qw( sse poll )) {
    my $client = $tabs->evaluate($way, page('m.hub.client'));

    $tabs->click($way, '#cut');
    say_in('websocket', "while $way was away");
    ok($tabs->wait('websocket', '#log', "while $way was away", 20), 'said');
    $tabs->click($way, '#return');

    ok($tabs->wait($way, '#state', 'connected', 20), "$way: is back");
    ok($tabs->wait($way, '#log', "while $way was away", 20),
       "$way: with what was said");
    is($tabs->evaluate($way, page('m.hub.client')), $client, "$way: as who it was");
    is($tabs->evaluate($way, page('m.hub.transport')), $way, "$way: still by that");
    unlike($tabs->texts('websocket', '#log')->[0], qr/left/,
           "$way: nobody has noticed");
}


# a reload is survived by all

$nginx->reload;

for my $way (qw( websocket sse poll )) {
    say_in($way, "after the reload, $way")
        if ok(wait_for(sub {
            $tabs->evaluate($way, page('m.hub.connected'));
        }, 20), "$way: there after a reload");
}

for my $way (qw( websocket sse poll )) {
    for my $other (qw( websocket sse poll )) {
        ok($tabs->wait($other, '#log', "after the reload, $way", 20),
           "$way is heard by $other after a reload");
    }
}

# who is cut off in the middle of its goodbyes logs that

ok(wait_for(sub { !$nginx->stopping_pids }, 60), 'the old workers are gone');


# a socket that is refused is an error of the console, in any browser

is_deeply($tabs->errors('websocket'), [], 'no errors of scripts');

for my $way (qw( sse poll )) {
    is_deeply([ grep { !/WebSocket|Failed to load/ }
                    @{ $tabs->errors($way) } ], [],
              "$way: none but of what is blocked");
}


# curl, which prints what it gets when it gets it

subtest 'curl --no-buffer' => sub {
    my $pid = open my $out, '-|', 'curl', '-sS', '--no-buffer', '--max-time',
        60, $nginx->uri('/realtime?channel=room:curl&user=curl')
        or die "curl: $!";

    my $read = sub {
        my ($what) = @_;

        while (my $line = readline $out) {
            return 1 if $line =~ $what;
        }

        return 0;
    };

    # each is published when the one before it was printed

    ok($read->(qr/^data: \{"welcome"/), 'is welcomed');
    ok($read->(qr/^id: \S+$/), 'told where it is');

    for my $i (1 .. 3) {
        $nginx->http->post('/fanout/channels/room:curl/messages', qq("m$i"));
        ok($read->(qr/^data: .*"m$i"/), "and message $i at once");
    }

    kill 'TERM', $pid;
    close $out;
};
