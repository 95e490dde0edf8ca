#!/usr/bin/env perl

# Events over HTTP/2 to a client that opens its window bit by bit: if this
# fails, one slow reader fills a worker's memory, stops for ever when it reads
# on, holds up the other streams of its connection, or is not told what it
# missed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


# what is freed goes at once, or a worker with ASan grows as a matter of course

$ENV{ASAN_OPTIONS} = join ':', grep { defined } $ENV{ASAN_OPTIONS},
                                                'quarantine_size_mb=1';

my $version = `@{[ Fanout::Nginx::binary() ]} -V 2>&1`;
my ($minor) = $version =~ m{nginx/1\.(\d+)};
my ($listen, $on) = $minor >= 25 ? ('', 'http2 on;') : ('http2', '');

plan(skip_all => 'NGINX without HTTP/2') if $version !~ /http_v2_module/;

my $locations = <<'END';
        fanout_permit all *;
        fanout_message_size 256k;
        fanout_ping 10m;
        location /rt { fanout app; fanout_buffer 128k; }
        location /short { fanout app; fanout_ping 300ms;
                          fanout_timeout 300ms; }
        location /poll { fanout app; }
        location /fanout { fanout_api app; }
        location = /status { fanout_status app; }
END

my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => 'fanout_zone app 32m;
                fanout_channel app few* history=20;
                fanout_channel app room* presence=on batch=20ms;
                fanout_channel app * history=1000;
                client_body_buffer_size 256k;',
    server  => $locations,
    servers => "server { listen 127.0.0.1:%%PORT1%% $listen; $on $locations }",
);

my $http = $nginx->http;
my ($pid) = $nginx->worker_pids;


sub publish {
    my ($channel, $data) = @_;

    my $r = $http->post("/fanout/channels/$channel/messages", $data);
    die "publish: $r->{status} $r->{body}\n" if $r->{status} !~ /^2/;
}


# just enough of RFC 9113 and 7541

sub frame {
    my ($type, $flags, $stream, $data) = @_;

    return substr(pack('N', length $data), 1) . pack('CCN', $type, $flags,
                                                     $stream) . $data;
}


sub literal {
    my ($name, $value) = @_;

    return "\0" . chr(length $name) . $name . chr(length $value) . $value;
}


sub connect_h2 {
    my ($window) = @_;

    my $s = Fanout::Socket->open(port => $nginx->port('PORT1'));

    $s->send_bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                   . frame(4, 0, 0, pack('nN', 4, $window))
                   . frame(8, 0, 0, pack('N', 0x3fffffff)));

    return { s => $s, body => {}, end => {}, reset => {} };
}


sub get {
    my ($c, $stream, $path, %headers) = @_;

    $c->{body}{$stream} = '';
    $c->{s}->send_bytes(frame(1, 5, $stream, join '',
        literal(':method', 'GET'), literal(':scheme', 'http'),
        literal(':path', $path), literal(':authority', 'x'),
        map { literal($_, $headers{$_}) } sort keys %headers));
}


sub grant {
    my ($c, $stream, $n) = @_;

    $c->{s}->send_bytes(frame(8, 0, $stream, pack('N', $n)));
}


# reads frames until the sub is true

sub read_until {
    my ($c, $enough, $timeout) = @_;

    my $end = time + ($timeout || 20);
    my $buffer = $c->{s}->buffer;

    until ($enough->()) {

        if (length $$buffer >= 9) {
            my ($high, $low, $type, $flags, $stream)
                = unpack 'CnCCN', $$buffer;
            my $len = $high << 16 | $low;

            if (length $$buffer >= 9 + $len) {
                my $data = substr $$buffer, 9, $len;
                substr $$buffer, 0, 9 + $len, '';

                $c->{body}{$stream} .= $data if $type == 0;
                $c->{end}{$stream} = 1 if $type < 2 && $flags & 1;
                $c->{reset}{$stream} = 1 if $type == 3;
                $c->{goaway} = 1 if $type == 7;
                $c->{s}->send_bytes(frame(4, 1, 0, ''))
                    if $type == 4 && !($flags & 1);
                next;
            }
        }

        return 0 if time > $end || ($c->{s}->eof);
        $c->{s}->fill($end - time);
    }

    return 1;
}


sub objects {
    my ($c, $stream) = @_;

    return map { Fanout::JSON::decode($_) }
           $c->{body}{$stream} =~ /^data: (.*)\n\n/mg;
}


subtest 'a window that is closed' => sub {
    my $c = connect_h2(8192);

    get($c, 1, '/rt?channel=few1');
    ok(read_until($c, sub { $c->{body}{1} =~ /^id: \S+\ndata: /m }), 'begins');

    my $data = '"' . 'x' x 100_000 . '"';

    publish('few1', $data) for 1 .. 20;

    my $before = $nginx->rss($pid);
    publish('few1', $data) for 1 .. 180;
    my $grown = $nginx->rss($pid) - $before;

    my $may = ($ENV{TEST_SANITIZE} ? 8 : 2) * 1024 * 1024;
    cmp_ok($grown, '<', $may, 'is no matter of memory');

    # another stream of the same connection

    get($c, 3, '/rt?channel=other');
    ok(read_until($c, sub { $c->{body}{3} =~ /^id: \S+\ndata: /m }),
       'holds up no other stream');
    publish('other', 1);
    ok(read_until($c, sub { $c->{body}{3} =~ /"data":1/ }), 'which goes on');

    # bit by bit, then all

    for (1 .. 50) {
        my $want = length($c->{body}{1}) + 5000;
        grant($c, 1, 5000);
        last if !read_until($c, sub { length $c->{body}{1} >= $want });
    }

    grant($c, 1, 0x3fffffff);
    publish('few1', '"end"');

    ok(read_until($c, sub { $c->{body}{1} =~ /"data":"end"/ }),
       'goes on when it is opened');

    my ($last, $gaps, $wrong) = (0, 0, 0);

    for my $o (objects($c, 1)) {
        if ($o->{gap}) {
            $wrong++ if $o->{gap}{from} != $last + 1;
            $last = $o->{gap}{to};
            $gaps++;

        } elsif ($o->{offset}) {
            $wrong++ if $o->{offset} != ++$last;
        }
    }

    is($last, 201, 'up to the end');
    cmp_ok($gaps, '>', 0, 'with a gap that was told');
    is($wrong, 0, 'exactly');
};


subtest 'coming back' => sub {
    my $c = connect_h2(1 << 20);

    get($c, 1, '/rt?channel=a&channel=b');
    read_until($c, sub { $c->{body}{1} =~ /^id: \S+\ndata: /m });

    publish('a', 1);
    read_until($c, sub { $c->{body}{1} =~ /"data":1/ });
    my ($id) = $c->{body}{1} =~ /.*^id: (\S+)$/ms;

    $c->{s}->cut;
    publish('a', 2);
    publish('b', 3);

    $c = connect_h2(1 << 20);
    get($c, 1, '/rt?channel=a&channel=b', 'last-event-id' => $id);
    read_until($c, sub { $c->{body}{1} =~ /"data":3/
                         && $c->{body}{1} =~ /"data":2/ });

    is(join(' ', sort map { $_->{data} } grep { $_->{offset} }
                      objects($c, 1)), '2 3', 'by the last id');

    # a stream that the client resets, and one whose connection goes

    $c->{s}->send_bytes(frame(3, 0, 1, pack('N', 8)));
    get($c, 3, '/rt?channel=a');
    read_until($c, sub { $c->{body}{3} =~ /^id: \S+\ndata: /m });

    ok(wait_for(sub {
        my $s = $http->get('/status')->json;
        return $s->{workers}[0]{sessions} == 1;
    }), 'a stream that was reset is gone');

    $c->{s}->cut;

    ok(wait_for(sub {
        my $s = $http->get('/status')->json;
        return $s->{workers}[0]{sessions} == 0;
    }), 'so are those of a connection that is');
};


subtest 'a poll' => sub {
    my $c = connect_h2(1 << 20);

    get($c, 1, '/poll?poll=1&channel=p');
    ok(read_until($c, sub { $c->{end}{1} }), 'is answered');

    my ($r) = $http->get('/poll?poll=1&channel=p');
    my $at = $r->{headers}{'fanout-position'};

    get($c, 3, "/poll?poll=1&channel=p&since=$at");
    get($c, 5, "/poll?poll=1&channel=p&since=$at&timeout=0");
    ok(read_until($c, sub { $c->{end}{5} }), 'one beside another');
    is($c->{body}{5}, "[]\n", 'which has nothing');

    publish('p', '"now"');
    ok(read_until($c, sub { $c->{end}{3} }), 'and the other');
    like($c->{body}{3}, qr/^\[\{.*"data":"now"\}\]\n$/, 'what was said');
};


subtest 'who never reads on' => sub {
    my $c = connect_h2(4096);

    get($c, 1, '/short?channel=few2');
    read_until($c, sub { $c->{body}{1} =~ /^id: \S+\ndata: /m });

    publish('few2', '"' . 'x' x 50_000 . '"') for 1 .. 5;

    ok(read_until($c, sub { $c->{reset}{1} || $c->{end}{1} }),
       'is reset after a while');
};


# members, by a client that others have made

SKIP: {
    skip('no curl with HTTP/2', 4)
        if `curl --version 2>&1` !~ /^Features:.*\bHTTP2\b/m;

    my $curl = sub {
        my ($query) = @_;

        my $uri = 'http://127.0.0.1:' . $nginx->port('PORT1') . "/rt?$query";
        my $pid = open my $out, '-|', 'curl', '-sSN', '--max-time', 60,
            '--http2-prior-knowledge', '-H', 'X-Requested-With: curl', $uri or die "curl: $!";

        return ($pid, $out);
    };

    my $find = sub {
        my ($out, $what) = @_;

        while (my $line = readline $out) {
            return 1 if $line =~ $what;
        }

        return 0;
    };

    my $join = 'join=%7B%22channel%22:%22room%22,%22presence%22:%7B%22n%22:';

    my ($pid, $out) = $curl->($join . '1%7D%7D');
    ok($find->($out, qr/^data: .*"ok":.*"members":/), 'a list of members');

    my ($other, $out2) = $curl->($join . '2%7D%7D');
    ok($find->($out, qr/^data: .*"presence":\{"joined":.*"n":2/),
       'one who comes');
    ok($find->($out2, qr/^data: .*"members":.*"n":1/), 'sees who is there');
    kill 'TERM', $other;
    close $out2;

    my ($third, $out3) = $curl->('poll=1&session=1&' . $join . '3%7D%7D');
    ok($find->($out3, qr/"welcome":.*"members":/), 'and a poll');
    close $out3;

    kill 'TERM', $pid;
    close $out;
}
