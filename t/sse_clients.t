#!/usr/bin/env perl

# Event streams by others' clients, through others' servers: if this fails, a
# page that reads a stream by fetch-event-source gets messages without data, at
# which its JSON.parse throws, or one behind a server with compression gets
# nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


my $root = "$FindBin::Bin/..";
my $ws   = $ENV{TEST_WS_MODULES} || "$root/build/ws/node_modules";
my $rest = "$root/build/rest/node_modules";

-d $_ or die "$_ is not installed: t/tools/deps test\n"
    for "$ws/\@microsoft/fetch-event-source", "$rest/compression";

my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 32m;
               fanout_channel app * history=100 ttl=1h;',
    server => <<'END',
        fanout_permit all *;
        fanout_drain 300ms;
        fanout_retry 100ms;
        location /rt { fanout app; fanout_ping 100ms; }
        location /fanout { fanout_api app; }
END
);

# node's output, line by line

sub node {
    my ($modules, @args) = @_;

    local $ENV{NODE_PATH} = $modules;

    my $pid = open my $out, '-|', 'node', @args or die "node: $!\n";

    return { out => $out, text => '', pid => $pid };
}


sub stop {
    my ($node) = @_;

    kill 'KILL', $node->{pid};
    close $node->{out};
}


sub next_line {
    my ($node) = @_;

    my $end = time + 30 * $Fanout::Socket::SCALE;

    while (time < $end) {
        return $1 if $node->{text} =~ s/^(.*)\n//;

        IO::Select->new($node->{out})->can_read(1) or next;
        sysread $node->{out}, $node->{text}, 65536, length $node->{text}
            or return undef;
    }

    return undef;
}


# all it says until a message with that data

sub until_said {
    my ($node, $data) = @_;

    my @all;

    while (defined(my $line = next_line($node))) {
        push @all, Fanout::JSON::decode($line);
        return @all if $all[-1]{message}
                       && ($all[-1]{message}{data} // '') eq $data;
    }

    fail("\"$data\" is said");
    diag(explain(\@all));

    return @all;
}


sub publish {
    my ($data) = @_;

    my $r = $nginx->http->post('/fanout/channels/a/messages', $data);
    die "publish: $r->{status}\n" if $r->{status} !~ /^2/;
}


my $proxy = node($rest, "$root/t/rest/compress.js", $nginx->port);
my $port  = next_line($proxy);

ok($port, 'a server with compression');

for my $case ([ 'fetch-event-source', $nginx->port ],
              [ 'the same behind compression', $port ])
{
    my ($name, $to) = @$case;
    my $client;

    subtest $name => sub {
        $client = node($ws, "$root/t/ws/events.js",
                          "http://127.0.0.1:$to/rt?channel=a&channel=b");

        my $line;
        my @all;

        while (defined($line = next_line($client))) {
            push @all, Fanout::JSON::decode($line);
            last if $all[-1]{message}{ok}
                    && $all[-1]{message}{ok}{channel} eq 'b';
        }

        ok(defined $line, 'opens and reads at once') or return;
        ok($all[-1]{id}, 'knows where it stands');

        # with heartbeats in between

        for my $i (1 .. 5) {
            select undef, undef, undef, 0.25;
            publish($i);
            push @all, until_said($client, $i);
        }

        # it is cut, and comes back to where it was

        $nginx->kill_worker($_) for $nginx->worker_pids;
        publish(6);
        push @all, until_said($client, 6);

        is_deeply([ map { $_->{message}{data} }
                        grep { $_->{message} && $_->{message}{data} } @all ],
                  [ 1 .. 6 ], 'all is told, once');
        is(scalar(grep { $_->{open} } @all), 2, 'by two connections');
        is_deeply([ grep { $_->{error} && $_->{error} =~ /JSON/ } @all ], [],
                  'no message without data');

    };

    stop($client);

    $nginx->http->delete('/fanout/channels/a');
}

stop($proxy);
