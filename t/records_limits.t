#!/usr/bin/env perl

# What the configuration says of records. If this fails, a client changes records
# that it may only read, records fill the zone or more than they were given, or
# nobody sees it in the status.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 4m records=5% address=100%;
        fanout_channel app small  records=on record=10 fields=2 records_max=2;
        fanout_channel app short  records=on records_ttl=1s;
        fanout_channel app many:* records=on records_max=100000;
        fanout_channel app table  records=on history=10;
END
    server => <<'END',
        location = /realtime { fanout app; fanout_permit all *; }
        location = /read     { fanout app; fanout_permit join,publish *; }
        location = /change   { fanout app; fanout_permit record table; }
        location = /status   { fanout_status app; }
END
);

sub status { $nginx->http->get('/status' . ($_[0] // ''))->json }

sub code { $_[0]{error} ? $_[0]{error}{code} : 'ok' }

my $ws = $nginx->native;

sub set {
    my ($channel, $record, $fields, %more) = @_;

    return $ws->cmd('set', channel => $channel, record => $record, set => $fields, %more);
}


subtest 'who may change' => sub {
    my $reader = $nginx->native(path => '/read');
    my $writer = $nginx->native(path => '/change');
    my @set    = (set => channel => 'table', record => 'r', set => { a => 1 });

    my $r = $reader->cmd(@set);

    is(code($r), 'forbidden', 'not without the permission');
    like($r->{error}{message}, qr/no "fanout_permit record" allows/, 'which is named');
    is(code($writer->cmd(@set)), 'ok', 'with it');
    is(code($writer->cmd(delete => channel => 'other', record => 'r')), 'forbidden',
       'on its channels');
};


subtest 'limits of a channel' => sub {
    is(code(set('small', 'r', { a => 1, b => 1 })), 'ok', 'as many fields');
    is(code(set('small', 'r', { c => 1 })), 'too_many', 'one more');
    is(code(set('small', 's', { a => 1234567 })), 'ok', 'few bytes');
    is(code(set('small', 's', { a => 1234567890 })), 'too_large', 'more');
    is(code(set('small', 't', { a => 1 })), 'too_many', 'a third record');
};


subtest 'numbers' => sub {
    my $before = status()->{zone};

    set('table', 'n', { a => 1, b => 2 });
    set('table', 'n', { a => 3 }, base => 1);
    is(code(set('table', 'n', { a => 4 }, base => 1)), 'conflict', 'a conflict');

    my $now = status()->{zone};
    my %by  = map { $_ => $now->{$_} - $before->{$_} }
              qw( records record_bytes record_sets record_conflicts record_rejected );

    is_deeply(\%by, { records => 1, record_bytes => 4, record_sets => 2,
                      record_conflicts => 1, record_rejected => 1 }, 'are told');
    is($now->{used}{records}, $now->{shares}{records}{used}, 'blocks, too');

    set('short', 'gone', { a => 1 });
    ok(wait_for(sub { status()->{zone}{record_expired} == 1 }), 'one expires');
};


subtest 'their share' => sub {
    my ($n, $r) = 0;

    do { $r = set('many:a', 'r' . $n++, { a => 'x' x 1000 }) }
        until $r->{error} || $n > 10_000;

    is(code($r), 'zone_full', "it is full after $n");
    like($r->{error}{message}, qr/fanout_zone records=/, 'and that is said');

    my $s     = status();
    my $share = $s->{zone}{shares}{records};

    ok($share->{used} > 0.7 * $share->{max}, 'four fifths for one fanout_channel');
    ok($share->{used} <= $share->{max}, 'and no more');
    is($share->{refused}, 1, 'the refusal is counted');
    is((grep { $_->{name} eq 'share_refused' } @{ $s->{health}{problems} }), 1,
       'the health has it');
    is(code(set('many:a', 'r0', { a => 2 })), 'ok', 'what needs no more succeeds');
    is(code($ws->cmd(publish => channel => 'table', data => 1)), 'ok',
       'others have room');
    like($nginx->http->get('/status?format=prometheus')->{body},
         qr/^nginx_fanout_share_refused_total\{zone="app",kind="records"\} 1$/m,
         'metrics');
};


subtest 'the last hour' => sub {
    ok(wait_for(sub {
        my $series = status('?history=1')->{history}{series};

        return (grep { $_ > 0 } @{ $series->{record_sets} || [] })
               && (grep { $_ > 0 } @{ $series->{records} });
    }, 30), 'has their rate and number');
};

done_testing();
