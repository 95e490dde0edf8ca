#!/usr/bin/env perl

# Coming back to a stream of events by one id for all of its channels: if this
# fails, a tab that was cut, or whose worker crashed, misses what was said
# meanwhile or is told it twice, or believes it has everything when it has not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Time::HiRes qw( sleep );

use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Stream;


# what is freed goes at once, or a worker with ASan grows as a matter of course

$ENV{ASAN_OPTIONS} = join ':', grep { defined } $ENV{ASAN_OPTIONS},
                                                'quarantine_size_mb=1';

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 64m;
        fanout_zone tiny 2m;
        fanout_channel app none*  history=0;
        fanout_channel app few*   history=5;
        fanout_channel app *      history=20000 ttl=1h;
        fanout_channel tiny *     history=100000;
        client_body_buffer_size 256k;
END
    server => <<'END',
        fanout_permit all *;
        fanout_drain  200ms;
        fanout_ping   10m;
        fanout_message_size 256k;
        fanout_retry  50ms;
        fanout_rate off;
        fanout_budget off;
        location /rt   { fanout app; fanout_resume 1m; }
        location /tiny { fanout tiny; }
        location /fanout   { fanout_api app; }
        location /api-tiny { fanout_api tiny; }
        location = /status { fanout_status app; }
END
);


sub pids { $nginx->worker_pids }

sub stream { Fanout::Stream->new($nginx, @_) }


sub publish {
    my ($channel, @data) = @_;

    my $http = $nginx->http;

    for (@data) {
        my $r = $http->post("/fanout/channels/$channel/messages", qq("$_"));
        die "publish: $r->{status} $r->{body}\n" if $r->{status} !~ /^2/;
    }
}


sub data {
    my ($s, $n) = @_;

    return join ' ', map { ($s->next_push || {})->{data} // '?' } 1 .. $n;
}


subtest 'behind the last id' => sub {
    my $s = stream('/rt', channels => [ 'a', 'b' ]);

    publish('a', 1); publish('b', 2); publish('a', 3);
    is(data($s, 3), '1 2 3', 'what is live');

    $s->cut;
    publish('b', 4); publish('a', 5); publish('b', 6);
    $s->come_back;

    is($s->joined('a')->{recovered}, Fanout::JSON::true, 'one channel');
    is($s->joined('a')->{missed}, 1, 'has missed one');
    is($s->joined('b')->{missed}, 2, 'the other two');
    is(join(' ', sort split ' ', data($s, 3)), '4 5 6', 'which come');

    publish('a', 7);
    is(data($s, 1), '7', 'and go on');

    $s->cut;
    $s->come_back;
    ok(!$s->next_push(0.2), 'nothing comes twice');

    # before anything was said

    $s = stream('/rt', channels => [ 'early' ]);
    $s->cut;
    publish('early', 1);
    $s->come_back;
    is(data($s, 1), '1', 'also to who was cut before the first');

    $s = stream('/rt', channels => [ 'a', 'b' ],
                query => 'lastEventId=' . $s->last_id, since => undef);
    publish('b', 8);
    is(data($s, 1), '8', 'the position may be in the query');
};


subtest 'what is not kept is told' => sub {
    my $s = stream('/rt', channels => [ 'few', 'none', 'a' ]);

    publish('few', 1);
    is(data($s, 1), '1', 'live');
    $s->cut;
    publish('few', 2 .. 7);
    $s->come_back;

    is($s->joined('few')->{recovered}, Fanout::JSON::false,
       'a history that has moved on');
    is($s->joined('none')->{recovered}, Fanout::JSON::true,
       'a channel in which nothing was said');
    is($s->joined('a')->{recovered}, Fanout::JSON::true, 'and another');

    publish('few', 8);
    is(data($s, 1), '8', 'it goes on with what is new');

    $s->cut;
    publish('none', 1);
    $s->come_back;
    is($s->joined('none')->{recovered}, Fanout::JSON::false,
       'a channel without a history');
    is($s->joined('few')->{recovered}, Fanout::JSON::true, 'that alone');

    $s->cut;
    $nginx->http->delete('/fanout/channels/a');
    $s->come_back;
    is($s->joined('a')->{recovered}, Fanout::JSON::false, 'a purge');

    $s->cut;
    $s->come_back;
    is($s->joined('a')->{recovered}, Fanout::JSON::true, 'once');

    (my $other = $s->last_id) =~ s/^(.)/$1 eq 'f' ? 'e' : 'f'/e;
    $s = stream('/rt', channels => [ 'a' ], since => $other);
    is($s->joined('a')->{recovered}, Fanout::JSON::false,
       'a zone of another life');

    (my $later = $s->last_id) =~ s/\.(\d+)/'.' . ($1 + 1000)/e;
    $s = stream('/rt', channels => [ 'a' ], since => $later);
    is($s->joined('a')->{recovered}, Fanout::JSON::false,
       'a position that is still to come');
};


subtest 'the client itself' => sub {
    my $s = stream('/rt', channels => [ 'a' ]);
    my $was = $s->welcome;

    $s->cut;
    $s->{o}{headers} = { 'Fanout-Resume' => $was->{resume} };
    $s->come_back;

    is($s->welcome->{client}, $was->{client}, 'is who it was by its token');
    is($s->welcome->{resumed}, Fanout::JSON::true, 'and knows it');
    isnt($s->welcome->{resume}, $was->{resume}, 'with another token');

    my $again = stream('/rt', channels => [ 'a' ],
                       headers => { 'Fanout-Resume' =>
                                        $s->welcome->{resume} });

    is($again->welcome->{client}, $was->{client}, 'also while it lives');

    my $closing = $s->next_push(10);
    is($closing->{closing}{status}, 4409, 'the other is told');
    is($closing->{closing}{reconnect}, Fanout::JSON::false, 'not to come back');
};


# A backlog of many channels that is more than a worker reads in a turn, read
# in pieces by clients that are cut again and again

subtest 'cut in the middle of much' => sub {
    my ($one, $two) = pids();
    my @channels = map { "much$_" } 1 .. 12;
    my $each = 640;
    my %next;

    my @readers = map {
        my $s = stream('/rt', channels => $_ < 3 ? \@channels
                              : [ @channels[ $_, $_ + 1 ] ], worker => $one);
        [ $s, { map { $_ => 1 } @{ $s->{o}{channels} } } ];
    } 0 .. 5;

    my $http = $nginx->native(path => '/rt', worker => $two);

    for my $round (1 .. 3) {
        my $wrong = 0;
        my ($pid) = grep { $_ != $two } pids();

        # one that was stopped inside a lock of the zone holds up all

        for (1 .. 10) {
            $nginx->signal($pid, 'STOP');
            last if eval { $http->cmd(history => channel => 'much1',
                                      limit => 0, timeout => 2) };
            $nginx->signal($pid, 'CONT');
        }

        for my $i (1 .. $each / 16) {
            for my $channel (sort { rand() <=> 0.5 } @channels) {
                $http->ok(publish => channel => $channel,
                          messages => [ map { { data => "$i.$_" . 'x' x 80 } }
                                            1 .. 16 ]);
            }
        }

        $nginx->signal($pid, 'CONT');

        for my $reader (@readers) {
            my ($s, $next) = @$reader;
            my $end  = $round * $each;
            my $cuts = 0;
            my $read = 0;
            my $cut  = 200 + int rand 500;

            while (grep { $_ <= $end } values %$next) {
                my $push = $s->next_push(20);

                if (!$push) {
                    diag("nothing more: " . $s->last_id);
                    $wrong++;
                    last;
                }

                my $channel = $push->{channel};

                if ($push->{offset} != $next->{$channel}++) {
                    diag(sprintf '%s: %s instead of %d', $channel,
                         $push->{offset} // Fanout::JSON::encode($push),
                         $next->{$channel} - 1) if $wrong++ < 5;
                    last if $wrong > 100;
                }

                if (++$read % $cut == 0) {
                    $cuts++;
                    $s->cut;
                    $s->come_back;
                }
            }

            $wrong++ if $cuts < 1;
        }

        is($wrong, 0, "round $round: all of all, once, in order");
    }
};


# Those who come back by themselves, over crashes and reloads

subtest 'a worker is killed' => sub {
    my @channels = map { "kill$_" } 1 .. 6;

    my @readers = map {
        [ stream('/rt', channels => \@channels), { map { $_ => 1 } @channels } ]
    } 1 .. 8;

    my $said = 0;
    my $say = sub {
        for (1 .. 5) {
            $said++;
            publish($_, $said) for @channels;
        }
    };

    my $wrong = 0;
    my $read = sub {
        my ($upto) = @_;

        for my $reader (@readers) {
            my ($s, $next) = @$reader;

            while (grep { $_ <= $upto } values %$next) {
                my $push = $s->follow(20);

                if (!$push || !$push->{offset}
                    || $push->{offset} != $next->{ $push->{channel} }++)
                {
                    diag(Fanout::JSON::encode($push || 'nothing'));
                    $wrong++;
                    return;
                }
            }
        }
    };

    for my $round (1 .. 3) {
        $say->();
        $nginx->kill_worker((pids())[ $round % 2 ]);
        $say->();
        $read->($said);
    }

    is($wrong, 0, 'three times: nothing is missed, nothing told twice');

    $say->();
    $nginx->reload;
    $say->();
    $read->($said);

    is($wrong, 0, 'nor by a reload');
};


subtest 'who does not read' => sub {
    my $http = $nginx->http;
    my ($pid) = pids();
    my $s = stream('/tiny', channels => [ 'room' ], worker => $pid,
                   rcvbuf => 16384);

    my $publish = sub {
        my ($n) = @_;
        my $r = $http->post('/api-tiny/channels/room/messages',
                            qq("$n ) . 'x' x 100_000 . '"');
        die "$r->{status}" if $r->{status} !~ /^2/;
    };

    $publish->($_) for 1 .. 60;

    my $before = $nginx->rss($pid);
    $publish->($_) for 61 .. 240;
    my $grown = $nginx->rss($pid) - $before;

    my $may = ($ENV{TEST_SANITIZE} ? 8 : 2) * 1024 * 1024;
    cmp_ok($grown, '<', $may, 'is no matter of memory');

    my ($last, $gap, $wrong) = (0, 0, 0);

    while ($last < 240) {
        my $push = $s->next_push(20) or last;

        if ($push->{gap}) {
            $wrong++ if $push->{gap}{from} != $last + 1;
            $last = $push->{gap}{to};
            $gap++;
            next;
        }

        $wrong++ if $push->{offset} != ++$last;
    }

    is($last, 240, 'reads on when it does');
    cmp_ok($gap, '>', 0, 'is told of a gap');
    is($wrong, 0, 'exactly');
};
